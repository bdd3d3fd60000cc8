// The reference of the benchmark: full TLS handshakes with Go's crypto/tls, the whole chain kept and its keys hashed.
//
//	reference ADDRESSES COUNT CONCURRENCY [ROOTS.pem]
//
// ADDRESSES is a file with one host:port a line, used in turn. With ROOTS.pem the chain is verified, too. Prints the
// median and the 99th percentile of a handshake in milliseconds.
package main

import (
	"bufio"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"os"
	"sort"
	"strconv"
	"sync"
	"time"
)

const host = "exam.example.edu"

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "reference:", err)
		os.Exit(1)
	}
}

func main() {
	file, err := os.Open(os.Args[1])
	check(err)
	var addresses []string
	for lines := bufio.NewScanner(file); lines.Scan(); {
		addresses = append(addresses, lines.Text())
	}
	count, err := strconv.Atoi(os.Args[2])
	check(err)
	workers, err := strconv.Atoi(os.Args[3])
	check(err)
	settings := &tls.Config{ServerName: host, InsecureSkipVerify: len(os.Args) < 5, MinVersion: tls.VersionTLS13}
	if len(os.Args) > 4 {
		pem, err := os.ReadFile(os.Args[4])
		check(err)
		settings.RootCAs = x509.NewCertPool()
		settings.RootCAs.AppendCertsFromPEM(pem)
	}
	turns := make(chan string)
	var all sync.WaitGroup
	var lock sync.Mutex
	var took []float64
	for worker := 0; worker < workers; worker++ {
		all.Add(1)
		go func() {
			defer all.Done()
			for address := range turns {
				begun := time.Now()
				plain, err := net.Dial("tcp", address)
				check(err)
				secure := tls.Client(plain, settings)
				check(secure.Handshake())
				for _, certificate := range secure.ConnectionState().PeerCertificates {
					sha256.Sum256(certificate.RawSubjectPublicKeyInfo)
				}
				secure.Close()
				lock.Lock()
				took = append(took, float64(time.Since(begun).Microseconds())/1000)
				lock.Unlock()
			}
		}()
	}
	for number := 0; number < count; number++ {
		turns <- addresses[number%len(addresses)]
	}
	close(turns)
	all.Wait()
	sort.Float64s(took)
	if len(took) > 0 {
		fmt.Printf("{\"p50\": %.3f, \"p99\": %.3f}\n", took[len(took)/2], took[len(took)*99/100])
	}
}
