// An intercepting proxy as programs written in Go are: TLS ended with a certificate of its own, and net/http's transport
// to the server behind.
//
// Usage: goproxy ADDRESS CERTIFICATES.pem KEY.pem https://SERVER
package main

import (
	"crypto/tls"
	"fmt"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
)

func main() {
	server, err := url.Parse(os.Args[4])
	if err != nil {
		fail(err)
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.TLSClientConfig = &tls.Config{InsecureSkipVerify: true} // its server has a certificate of the tests
	proxy := &httputil.ReverseProxy{
		Director: func(request *http.Request) {
			request.URL.Scheme, request.URL.Host = server.Scheme, server.Host
		},
		Transport: transport,
	}
	fail(http.ListenAndServeTLS(os.Args[1], os.Args[2], os.Args[3], proxy))
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}
