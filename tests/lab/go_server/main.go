// A TLS server as programs written in Go have it: crypto/tls with its defaults, one certificate, nothing served.
//
// Usage: goserver ADDRESS CERTIFICATES.pem KEY.pem [request] [p256] [tls12] [response=FILE] [sct=FILE]
//
// "request" asks clients for a certificate, "p256" takes no other group, "tls12" speaks nothing newer; the files are an OCSP
// response to staple and one SCT for the TLS extension, both in the form they are sent in.
package main

import (
	"crypto/tls"
	"fmt"
	"net"
	"os"
	"strings"
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
	for _, option := range os.Args[4:] {
		name, file, _ := strings.Cut(option, "=")
		switch name {
		case "request":
			config.ClientAuth = tls.RequestClientCert
		case "p256":
			config.CurvePreferences = []tls.CurveID{tls.CurveP256}
		case "tls12":
			config.MaxVersion = tls.VersionTLS12
		case "response":
			config.Certificates[0].OCSPStaple = read(file)
		case "sct":
			config.Certificates[0].SignedCertificateTimestamps = [][]byte{read(file)}
		}
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

func read(file string) []byte {
	content, err := os.ReadFile(file)
	if err != nil {
		fail(err)
	}
	return content
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}
