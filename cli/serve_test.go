package cli

import (
	"bufio"
	"context"
	"crypto/rand"
	"crypto/tls"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/house"
)

// enough is how long a test waits for what should happen at once.
const enough = 20 * time.Second

// until tries again until it works, which it should soon.
func until(t *testing.T, what string, try func() bool) {
	t.Helper()
	for ends := time.Now().Add(enough); !try(); {
		if time.Now().After(ends) {
			t.Fatal("too late: " + what)
		}
	}
}

func status(t *testing.T, client *http.Client, url string) int {
	t.Helper()
	response, err := client.Get(url)
	if err != nil {
		return 0
	}
	response.Body.Close()
	return response.StatusCode
}

func TestAReplicaThatIsStoppedSaysSoFirstAndFinishesWhatIsUnderWay(t *testing.T) {
	h, _, err := house.Start(t.Context(), house.Place{Data: filepath.Join(t.TempDir(), "house")}, nil, house.Options{
		Clock: clock{}, Entropy: rand.Reader, Log: slog.New(slog.DiscardHandler), Replica: "test", Issuer: "http://countersign.test",
	})
	if err != nil {
		t.Fatal(err)
	}
	defer h.Store.Close()
	identity, _ := h.Desk.Resolve("ben.adeyemi")
	token, err := issueToken(t.Context(), h, identity, "ben.adeyemi", []string{"evaluate"}, countersign.Hour)
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	// Where a database is named others share the work, and a load balancer has to hear.
	go func() {
		ended <- run(ctx, h, listener, configuration{Database: "shared", Listen: "127.0.0.1:0"}, true, nil, slog.New(slog.DiscardHandler))
	}()
	url := "http://" + listener.Addr().String()
	until(t, "the house is ready", func() bool { return status(t, http.DefaultClient, url+"/readyz") == http.StatusOK })

	body := `{"subject":{"type":"person","id":"ben.adeyemi"},"action":{"name":"read"},"resource":{"type":"resource","id":"x/y"}}`
	slow, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer slow.Close()
	fmt.Fprintf(slow, "POST /access/v1/evaluation HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", token.Reveal(), len(body), body[:20])

	stop()
	until(t, "the house says that it is not ready", func() bool { return status(t, http.DefaultClient, url+"/readyz") == http.StatusServiceUnavailable })
	if got := status(t, http.DefaultClient, url+"/healthz"); got != http.StatusOK {
		t.Errorf("while it drains it answers %d to /healthz", got)
	}
	until(t, "the door closes", func() bool { return status(t, http.DefaultClient, url+"/healthz") == 0 })
	io.WriteString(slow, body[20:])
	response, err := http.ReadResponse(bufio.NewReader(slow), nil)
	if err != nil || response.StatusCode != http.StatusOK {
		t.Fatalf("what was under way gets %v (%v)", response, err)
	}
	select {
	case err := <-ended:
		if err != nil {
			t.Errorf("it ends with %v", err)
		}
	case <-time.After(enough):
		t.Fatal("it does not end")
	}
}

func TestTLSIsServedWithStrictHeadersAndNewFilesAtASignal(t *testing.T) {
	folder := t.TempDir()
	expires := time.Now().Add(time.Hour)
	certificateFile, keyFile := writePair(t, folder, "first", expires)
	ctx, stop := context.WithCancel(t.Context())
	out, told := io.Pipe()
	ended := make(chan error, 1)
	settings := configuration{Data: filepath.Join(folder, "house"), Listen: "127.0.0.1:0", TLSCertificate: certificateFile, TLSKey: keyFile}
	go func() {
		err := serve(ctx, settings, told, io.Discard)
		told.Close()
		ended <- err
	}()
	lines, url := bufio.NewScanner(out), ""
	for url == "" && lines.Scan() {
		_, url, _ = strings.Cut(lines.Text(), "Listening on ")
	}
	go io.Copy(io.Discard, out)
	if !strings.HasPrefix(url, "https://") {
		t.Fatalf("it listens on %q: %v", url, <-ended)
	}
	// Each connection is a new one, and what counts is the name in the certificate.
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
	shown := func() (string, http.Header) {
		response, err := client.Get(url + "/healthz")
		if err != nil {
			return "", nil
		}
		response.Body.Close()
		return response.TLS.PeerCertificates[0].Subject.CommonName, response.Header
	}
	name, header := "", http.Header(nil)
	until(t, "it answers", func() bool { name, header = shown(); return name != "" })
	if name != "first" || header.Get("Strict-Transport-Security") == "" || header.Get("Cache-Control") != "no-store" {
		t.Errorf("the certificate is of %s, and the headers are %v", name, header)
	}
	old := &tls.Config{InsecureSkipVerify: true, MaxVersion: tls.VersionTLS11}
	if connection, err := tls.Dial("tcp", strings.TrimPrefix(url, "https://"), old); err == nil {
		connection.Close()
		t.Error("TLS 1.1 is spoken")
	}
	writePair(t, folder, "second", expires)
	if err := syscall.Kill(os.Getpid(), syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	until(t, "the new certificate is shown", func() bool { name, _ = shown(); return name == "second" })
	stop()
	select {
	case err := <-ended:
		if err != nil {
			t.Errorf("it ends with %v", err)
		}
	case <-time.After(enough):
		t.Fatal("it does not end")
	}
}
