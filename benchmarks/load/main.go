// Command load is both ends of the gateway's benchmark, each on one core.
//
//	load serve CERT KEY         an HTTPS and a blind far end; says their ports in JSON, serves until its input ends
//	load ask < JSON             asks for a while, and says rates and times in JSON
//
// A blind far end answers whatever comes first with one fixed message: what a tunnel costs is measured without what
// cryptography costs its ends.
package main

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"runtime"
	"sort"
	"sync"
	"time"
)

const answer = "{\"rows\": [1, 2, 3], \"more\": \"0123456789012345678901234567890123456789012345678901234567890123\"}"

// Asked is what one run does. Proxy "" is none; Kept says whether connections are kept for the next request.
type Asked struct {
	Proxy, Authorization, Host, Port, CAFile string
	Blind, Kept                              bool
	Headers                                  string
	Connections                              int
	Seconds                                  float64
}

// Measured is what came of it.
type Measured struct {
	RPS    float64 `json:"rps"`
	P50    float64 `json:"p50_ms"`
	P99    float64 `json:"p99_ms"`
	Errors int     `json:"errors"`
	Why    string  `json:"why,omitempty"`
}

func main() {
	runtime.GOMAXPROCS(1)
	if len(os.Args) == 4 && os.Args[1] == "serve" {
		serve(os.Args[2], os.Args[3])
		return
	}
	var asked Asked
	if err := json.NewDecoder(os.Stdin).Decode(&asked); err != nil {
		log.Fatal(err)
	}
	if err := json.NewEncoder(os.Stdout).Encode(ask(asked)); err != nil {
		log.Fatal(err)
	}
}

func serve(certificate, key string) {
	blind, err := net.Listen("tcp", "127.0.0.1:0")
	must(err)
	web, err := net.Listen("tcp", "127.0.0.1:0")
	must(err)
	go func() {
		for {
			connection, err := blind.Accept()
			must(err)
			go answers(connection)
		}
	}()
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if _, err := io.WriteString(w, answer); err != nil {
			return
		}
	})
	quiet := log.New(io.Discard, "", 0)
	plain := &http.Server{Handler: handler, ErrorLog: quiet, TLSNextProto: map[string]func(*http.Server, *tls.Conn, http.Handler){}}
	go func() { must(plain.ServeTLS(web, certificate, key)) }()
	must(json.NewEncoder(os.Stdout).Encode(map[string]int{
		"blind": blind.Addr().(*net.TCPAddr).Port, "web": web.Addr().(*net.TCPAddr).Port,
	}))
	_, _ = io.Copy(io.Discard, os.Stdin)
}

func answers(connection net.Conn) {
	defer connection.Close()
	buffer := make([]byte, 4096)
	for {
		if _, err := connection.Read(buffer); err != nil {
			return
		}
		if _, err := io.WriteString(connection, answer); err != nil {
			return
		}
	}
}

func must(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

// client keeps one connection, where it may.
type client struct {
	Asked
	hello      []byte
	config     *tls.Config
	connection net.Conn
	reader     *bufio.Reader
}

func ask(asked Asked) Measured {
	config := &tls.Config{ServerName: asked.Host, ClientSessionCache: nil}
	if asked.CAFile != "" {
		pem, err := os.ReadFile(asked.CAFile)
		must(err)
		config.RootCAs = x509.NewCertPool()
		config.RootCAs.AppendCertsFromPEM(pem)
	}
	hello := recorded(config)
	var lock sync.Mutex
	var group sync.WaitGroup
	var took []float64
	failed, why := 0, ""
	until := time.Now().Add(time.Duration(asked.Seconds * float64(time.Second)))
	began := time.Now()
	for range asked.Connections {
		group.Add(1)
		go func() {
			defer group.Done()
			one := &client{Asked: asked, hello: hello, config: config}
			for time.Now().Before(until) {
				at := time.Now()
				err := one.request()
				lock.Lock()
				if err != nil {
					failed, why = failed+1, err.Error()
				} else {
					took = append(took, float64(time.Since(at).Microseconds())/1000)
				}
				lock.Unlock()
			}
			one.close()
		}()
	}
	group.Wait()
	elapsed := time.Since(began).Seconds()
	sort.Float64s(took)
	return Measured{float64(len(took)) / elapsed, part(took, 0.5), part(took, 0.99), failed, why}
}

func part(sorted []float64, share float64) float64 {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[min(len(sorted)-1, int(share*float64(len(sorted))))]
}

// recorded is the first message of a TLS client.
func recorded(config *tls.Config) []byte {
	here, there := net.Pipe()
	go func() { _ = tls.Client(here, config).Handshake() }()
	buffer := make([]byte, 4096)
	count, err := there.Read(buffer)
	must(err)
	there.Close()
	return buffer[:count]
}

func (c *client) request() error {
	if c.connection == nil {
		if err := c.open(); err != nil {
			c.close()
			return err
		}
	}
	err := c.exchange()
	if err != nil || !c.Kept {
		c.close()
	}
	return err
}

func (c *client) open() error {
	target, first := net.JoinHostPort(c.Host, c.Port), c.Proxy
	if first == "" {
		first = net.JoinHostPort("127.0.0.1", c.Port)
	}
	connection, err := net.Dial("tcp", first)
	if err != nil {
		return err
	}
	c.connection, c.reader = connection, bufio.NewReader(connection)
	if c.Proxy != "" {
		signed := ""
		if c.Authorization != "" {
			signed = "Proxy-Authorization: " + c.Authorization + "\r\n"
		}
		if _, err := fmt.Fprintf(connection, "CONNECT %s HTTP/1.1\r\nHost: %s\r\n%s\r\n", target, target, signed); err != nil {
			return err
		}
		response, err := http.ReadResponse(c.reader, &http.Request{Method: "CONNECT"})
		if err != nil {
			return err
		}
		if response.StatusCode != 200 {
			return errors.New(response.Status)
		}
	}
	if !c.Blind {
		secured := tls.Client(connection, c.config)
		if err := secured.Handshake(); err != nil {
			return err
		}
		c.connection, c.reader = secured, bufio.NewReader(secured)
	}
	return nil
}

func (c *client) exchange() error {
	if c.Blind {
		if _, err := c.connection.Write(c.hello); err != nil {
			return err
		}
		said := make([]byte, len(answer))
		if _, err := io.ReadFull(c.reader, said); err != nil {
			return err
		}
		if !bytes.Equal(said, []byte(answer)) {
			return errors.New("another answer")
		}
		return nil
	}
	if _, err := fmt.Fprintf(c.connection, "GET /v1/rows HTTP/1.1\r\nHost: %s:%s\r\n%s\r\n", c.Host, c.Port, c.Headers); err != nil {
		return err
	}
	response, err := http.ReadResponse(c.reader, nil)
	if err != nil {
		return err
	}
	said, err := io.ReadAll(response.Body)
	response.Body.Close()
	if err != nil {
		return err
	}
	if response.StatusCode != 200 || string(said) != answer {
		return fmt.Errorf("%s: %s", response.Status, said)
	}
	return nil
}

func (c *client) close() {
	if c.connection != nil {
		c.connection.Close()
		c.connection = nil
	}
}
