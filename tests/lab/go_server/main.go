// A TLS server as programs written in Go have it: crypto/tls with its defaults, one certificate, nothing served.
//
// Usage: goserver ADDRESS CERTIFICATES.pem KEY.pem [request]   ("request" asks clients for a certificate)
package main

import (
	"crypto/tls"
	"fmt"
	"net"
	"os"
	"time"
)

// Time for one client, far more than a handshake takes.
const patience = time.Minute

func main() {
	certificate, err := tls.LoadX509KeyPair(os.Args[2], os.Args[3])
	if err != nil {
		fail(err)
	}
	config := &tls.Config{Certificates: []tls.Certificate{certificate}, NextProtos: []string{"h2", "http/1.1"}}
	if len(os.Args) > 4 && os.Args[4] == "request" {
		config.ClientAuth = tls.RequestClientCert
	}
	listening, err := tls.Listen("tcp", os.Args[1], config)
	if err != nil {
		fail(err)
	}
	for {
		client, err := listening.Accept()
		if err != nil {
			fail(err)
		}
		go serve(client)
	}
}

// serve reads until the client has gone; what it says is not answered.
func serve(client net.Conn) {
	defer client.Close()
	client.SetDeadline(time.Now().Add(patience))
	rest := make([]byte, 1024)
	for {
		if _, err := client.Read(rest); err != nil {
			return
		}
	}
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}
