// The functions that a proxy auto-configuration file may call, as Netscape's "Navigator Proxy Auto-Config File Format"
// and Microsoft's "IPv6-Aware Proxy Helper API Definitions" describe them and Chromium evaluates them. Nothing here
// reaches outside: names are looked up in what the caller resolved before, and what is missing is noted in `__wanted`;
// the time is the caller's. `__own` are this machine's addresses, IPv4 first.

var __answers = {}, __wanted = [], __own = [], __local = null, __utc = null;

function isPlainHostName(host) { return !/[.:]/.test(String(host)); }

function dnsDomainIs(host, domain) {
  host = String(host); domain = String(domain);
  return host.length >= domain.length && host.substring(host.length - domain.length) === domain;
}

function localHostOrDomainIs(host, full) {
  host = String(host); full = String(full);
  return host === full || full.lastIndexOf(host + ".", 0) === 0;
}

function dnsDomainLevels(host) { return String(host).split(".").length - 1; }

function __ipv4(text) {
  var match = /^(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})$/.exec(String(text));
  if (!match) return null;
  for (var i = 1; i <= 4; i++) if (Number(match[i]) > 255) return null;
  return ((match[1] << 24) | (match[2] << 16) | (match[3] << 8) | match[4]) >>> 0;
}

// The bits of an address as an array: 32 of IPv4, 128 of IPv6 (RFC 4291 section 2.2); null for anything else.
function __bits(text) {
  text = String(text);
  var value = __ipv4(text);
  if (value !== null) return __digits(value, 32);
  if (!/^[0-9a-fA-F:.]{2,45}$/.test(text)) return null;
  var dotted = /^(.*:)(\d[^:]*)$/.exec(text);
  if (dotted && dotted[2].indexOf(".") >= 0) {
    if ((value = __ipv4(dotted[2])) === null) return null;
    text = dotted[1] + (value >>> 16).toString(16) + ":" + (value & 0xffff).toString(16);
  }
  var halves = text.split("::");
  if (halves.length > 2) return null;
  var groups = halves.map(function (half) { return half === "" ? [] : half.split(":"); });
  var missing = 8 - groups[0].length - (halves.length === 2 ? groups[1].length : 0);
  if (halves.length === 2 ? missing < 1 : missing !== 0) return null;
  var all = halves.length === 2 ? groups[0].concat(new Array(missing).fill("0"), groups[1]) : groups[0];
  if (!all.every(function (group) { return /^[0-9a-fA-F]{1,4}$/.test(group); })) return null;
  return all.reduce(function (bits, group) { return bits.concat(__digits(parseInt(group, 16), 16)); }, []);
}

function __digits(value, length) {
  return value.toString(2).padStart(length, "0").split("").map(Number);
}

// IPv4 addresses as IPv6 ones (RFC 4291 section 2.5.5.2), where the two families are compared.
function __mapped(bits) {
  return bits.length === 128 ? bits : new Array(80).fill(0).concat(new Array(16).fill(1), bits);
}

function convert_addr(text) { var value = __ipv4(text); return value === null ? 0 : value; }

function __resolve(name) {
  name = String(name).toLowerCase();
  if (__bits(name) !== null) return [name];
  if (Object.prototype.hasOwnProperty.call(__answers, name)) return __answers[name];
  if (__wanted.length < 64 && __wanted.indexOf(name) < 0 && name.length < 254) __wanted.push(name);
  return [];
}

function dnsResolve(host) {
  var found = __resolve(host);
  for (var i = 0; i < found.length; i++) if (__ipv4(found[i]) !== null) return found[i];
  return null;
}

function dnsResolveEx(host) { return __resolve(host).join(";"); }
function isResolvable(host) { return dnsResolve(host) !== null; }
function isResolvableEx(host) { return __resolve(host).length > 0; }
function myIpAddress() { return __own.length ? __own[0] : "127.0.0.1"; }
function myIpAddressEx() { return __own.join(";"); }
function getClientVersion() { return "1.0"; }

function sortIpAddressList(list) {
  if (typeof list !== "string") return null;
  var found = list.replace(/\s/g, "").split(";").filter(Boolean), bits = {};
  for (var i = 0; i < found.length; i++) if ((bits[found[i]] = __bits(found[i])) === null) return false;
  if (!found.length) return false;
  return found.sort(function (a, b) {
    if (bits[a].length !== bits[b].length) return bits[b].length - bits[a].length;
    return bits[a].join("") < bits[b].join("") ? -1 : bits[a].join("") > bits[b].join("") ? 1 : 0;
  }).join(";");
}

function isInNet(host, pattern, mask) {
  var address = __ipv4(host);
  if (address === null) { var found = dnsResolve(host); address = found === null ? null : __ipv4(found); }
  var net = __ipv4(pattern), bits = __ipv4(mask);
  return address !== null && net !== null && bits !== null && ((address & bits) >>> 0) === ((net & bits) >>> 0);
}

function isInNetEx(address, prefix) {
  var parts = String(prefix).split("/"), own = __bits(address), net = __bits(parts[0]), length = Number(parts[1]);
  if (own === null || net === null || parts.length !== 2 || !/^\d{1,3}$/.test(parts[1]) || length > net.length) return false;
  if (own.length !== net.length) { length += net.length === 32 ? 96 : 0; own = __mapped(own); net = __mapped(net); }
  for (var i = 0; i < length; i++) if (own[i] !== net[i]) return false;
  return true;
}

// Browsers escape nothing but the dot: the rest of a regular expression's syntax works, and files use it.
function shExpMatch(text, pattern) {
  var source = String(pattern).replace(/\./g, "\\.").replace(/\*+/g, ".*").replace(/\?/g, ".");
  return new RegExp("^" + source + "$").test(String(text));
}

var __DAYS = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"];
var __MONTHS = ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"];

function __given(list) {
  var values = Array.prototype.slice.call(list), now = __local;
  if (values.length && values[values.length - 1] === "GMT") { values.pop(); now = __utc; }
  return { values: values, now: now };
}

function __between(low, value, high) { return low <= high ? low <= value && value <= high : value >= low || value <= high; }

function weekdayRange() {
  var given = __given(arguments), days = given.values.map(function (day) { return __DAYS.indexOf(day); });
  if (!days.length || days.indexOf(-1) >= 0) return false;
  return __between(days[0], given.now.weekday, days[days.length - 1]);
}

function dateRange() {
  var given = __given(arguments), now = given.now, kinds = [], numbers = [];
  given.values.forEach(function (value) {
    var month = __MONTHS.indexOf(value);
    kinds.push(month >= 0 ? "month" : Number(value) > 31 ? "year" : "day");
    numbers.push(month >= 0 ? month : Number(value));
  });
  if (!kinds.length) return false;
  var half = kinds.length > 1 && kinds.length % 2 === 0 ? kinds.length / 2 : kinds.length;
  var order = { year: 0, month: 1, day: 2 };
  function key(from, upTo, date) {
    var picked = [];
    for (var i = from; i < upTo; i++) picked.push([order[kinds[i]], date ? date[kinds[i]] : numbers[i]]);
    picked.sort(function (a, b) { return a[0] - b[0]; });
    return picked.reduce(function (sum, part) { return sum * 10000 + part[1]; }, 0);
  }
  var low = key(0, half, null), value = key(0, half, now);
  return __between(low, value, half === kinds.length ? low : key(half, kinds.length, null));
}

function timeRange() {
  var given = __given(arguments), v = given.values.map(Number), now = given.now;
  var seconds = now.hour * 3600 + now.minute * 60 + now.second;
  if (v.length === 1) return now.hour === v[0];
  if (v.length === 2) return __between(v[0] * 3600, seconds, v[1] * 3600 + (v[0] <= v[1] ? 0 : -1));
  if (v.length === 4) return __between(v[0] * 3600 + v[1] * 60, seconds, v[2] * 3600 + v[3] * 60);
  if (v.length === 6) return __between(v[0] * 3600 + v[1] * 60 + v[2], seconds, v[3] * 3600 + v[4] * 60 + v[5]);
  return false;
}

function alert() {}
