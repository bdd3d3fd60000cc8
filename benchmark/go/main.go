// The reference of the benchmark: full TLS handshakes by Go's crypto/tls, many at once, the whole chain hashed.
//
// Without -verify the chain is captured and not judged (the server's signature is checked by crypto/tls all the same);
// with -verify the path to a root and the name are checked too. Prints one line of JSON.
package main

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"flag"
	"fmt"
	"net"
	"os"
	"sort"
	"strings"
	"sync"
	"time"
)

func main() {
	addresses := flag.String("addresses", "", "HOST:PORT, several with commas")
	host := flag.String("host", "", "name to ask for")
	roots := flag.String("roots", "", "PEM of the roots")
	count := flag.Int("count", 0, "handshakes")
	concurrency := flag.Int("concurrency", 32, "at once")
	verify := flag.Bool("verify", false, "check path and name")
	classical := flag.Bool("x25519", false, "offer X25519 alone")
	flag.Parse()
	config := &tls.Config{ServerName: *host, InsecureSkipVerify: !*verify, MinVersion: tls.VersionTLS13}
	if *classical {
		config.CurvePreferences = []tls.CurveID{tls.X25519}
	}
	if *verify {
		pem, err := os.ReadFile(*roots)
		config.RootCAs = x509.NewCertPool()
		if err != nil || !config.RootCAs.AppendCertsFromPEM(pem) {
			fail(fmt.Errorf("%s: no roots could be read: %v", *roots, err))
		}
	}
	targets := strings.Split(*addresses, ",")
	latencies := make([]float64, *count)
	work := make(chan int)
	var workers sync.WaitGroup
	begun := time.Now()
	for worker := 0; worker < *concurrency && worker < *count; worker++ {
		workers.Add(1)
		go func() {
			defer workers.Done()
			for number := range work {
				latencies[number] = look(targets[number%len(targets)], config)
			}
		}()
	}
	for number := 0; number < *count; number++ {
		work <- number
	}
	close(work)
	workers.Wait()
	wall := time.Since(begun).Seconds()
	sort.Float64s(latencies)
	said := map[string]any{"completed": *count, "wall_s": wall}
	if *count > 0 {
		said["p50_ms"], said["p99_ms"] = latencies[(*count-1)/2], latencies[(*count-1)*99/100]
	}
	json.NewEncoder(os.Stdout).Encode(said)
}

// look makes one handshake and gives the milliseconds it took.
func look(address string, config *tls.Config) float64 {
	begun := time.Now()
	plain, err := net.Dial("tcp", address)
	if err != nil {
		fail(err)
	}
	connection := tls.Client(plain, config)
	defer plain.Close()
	if err := connection.Handshake(); err != nil {
		fail(err)
	}
	chain := connection.ConnectionState().PeerCertificates
	if len(chain) != 3 {
		fail(fmt.Errorf("%s: %d certificates were presented", address, len(chain)))
	}
	for _, certificate := range chain {
		sha256.Sum256(certificate.Raw)
		sha256.Sum256(certificate.RawSubjectPublicKeyInfo)
	}
	return float64(time.Since(begun).Microseconds()) / 1000
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}
