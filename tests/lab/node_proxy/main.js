// An intercepting proxy as programs on Node.js are: TLS ended with a certificate of its own, https.request to the server.
//
// Usage: node main.js PORT CERTIFICATES.pem KEY.pem SERVER_PORT
'use strict';

const fs = require('fs');
const https = require('https');

const [port, chain, key, server] = process.argv.slice(2);

https.createServer({ cert: fs.readFileSync(chain), key: fs.readFileSync(key) }, (request, response) => {
  const onward = https.request(
    {
      host: '127.0.0.1',
      port: server,
      path: request.url,
      method: request.method,
      headers: request.headers,
      rejectUnauthorized: false, // its server has a certificate of the tests
    },
    (answer) => {
      response.writeHead(answer.statusCode, answer.headers);
      answer.pipe(response);
    },
  );
  onward.on('error', () => response.destroy());
  request.pipe(onward);
}).listen(Number(port), '127.0.0.1');
