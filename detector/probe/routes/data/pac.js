// The functions that a proxy auto-configuration file may call, as Netscape's "Navigator Proxy Auto-Config File Format"
// describes them. Nothing here reaches outside: names are looked up in what the caller resolved before, and what is
// missing is noted in `__wanted`; the time is the caller's.

var __answers = {}, __wanted = [], __own = "127.0.0.1", __local = null, __utc = null;

function isPlainHostName(host) { return String(host).indexOf(".") < 0; }

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

function convert_addr(text) { var value = __ipv4(text); return value === null ? 0 : value; }

function __resolve(name) {
  name = String(name).toLowerCase();
  if (__ipv4(name) !== null || name.indexOf(":") >= 0) return [name];
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
function myIpAddress() { return __own; }
function myIpAddressEx() { return __own; }

function isInNet(host, pattern, mask) {
  var address = __ipv4(host);
  if (address === null) { var found = dnsResolve(host); address = found === null ? null : __ipv4(found); }
  var net = __ipv4(pattern), bits = __ipv4(mask);
  return address !== null && net !== null && bits !== null && ((address & bits) >>> 0) === ((net & bits) >>> 0);
}

function isInNetEx(host, prefix) {
  var parts = String(prefix).split("/"), length = Number(parts[1]);
  if (__ipv4(parts[0]) === null || !(length >= 0 && length <= 32)) return false;
  var bits = length === 0 ? 0 : (0xffffffff << (32 - length)) >>> 0;
  return isInNet(host, parts[0], [bits >>> 24, (bits >>> 16) & 255, (bits >>> 8) & 255, bits & 255].join("."));
}

function shExpMatch(text, pattern) {
  var source = String(pattern).replace(/[.+^${}()|[\]\\\/]/g, "\\$&").replace(/\*+/g, ".*").replace(/\?/g, ".");
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
  var given = __given(arguments), days = given.values.map(function (day) { return __DAYS.indexOf(String(day).toUpperCase()); });
  if (!days.length || days.indexOf(-1) >= 0) return false;
  return __between(days[0], given.now.weekday, days[days.length - 1]);
}

function dateRange() {
  var given = __given(arguments), now = given.now, kinds = [], numbers = [];
  given.values.forEach(function (value) {
    var month = __MONTHS.indexOf(String(value).toUpperCase());
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
