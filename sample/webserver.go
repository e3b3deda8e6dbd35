package sample

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"sync"
)

// WebServer is a real TLS server whose certificates come from Countersign, with the
// program that puts them there: its keys never leave it, and it takes a new
// certificate without a restart.
type WebServer struct {
	listener net.Listener

	lock sync.Mutex
	keys []crypto.Signer
	// shows is the certificate of each handshake; nil before the first one.
	shows *tls.Certificate
	// stuck lets the program report success and the server change nothing.
	stuck bool
}

// OpenWebServer listens on a free loopback port.
func OpenWebServer() (*WebServer, error) {
	s := &WebServer{}
	listener, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: s.certificate})
	if err != nil {
		return nil, err
	}
	s.listener = listener
	go s.serve()
	return s, nil
}

func (s *WebServer) serve() {
	for {
		connection, err := s.listener.Accept()
		if err != nil {
			return
		}
		// What a client makes of the handshake is the client's.
		_ = connection.(*tls.Conn).Handshake()
		connection.Close()
	}
}

func (s *WebServer) certificate(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	s.lock.Lock()
	defer s.lock.Unlock()
	if s.shows == nil {
		return nil, errors.New("there is no certificate yet")
	}
	return s.shows, nil
}

// Close ends the server.
func (s *WebServer) Close() error { return s.listener.Close() }

// Address is where it listens, as host:port.
func (s *WebServer) Address() string { return s.listener.Addr().String() }

// Stick breaks how the server takes new certificates, or repairs it.
func (s *WebServer) Stick(stuck bool) {
	s.lock.Lock()
	defer s.lock.Unlock()
	s.stuck = stuck
}

// Ask makes a key, keeps it, and returns a certificate signing request for the name.
func (s *WebServer) Ask(name string) (string, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return "", err
	}
	s.lock.Lock()
	s.keys = append(s.keys, key)
	s.lock.Unlock()
	return signingRequest(key, name)
}

func signingRequest(key crypto.Signer, name string) (string, error) {
	request, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{DNSNames: []string{name}}, key)
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: request})), err
}

// Carry is the deploy program: it puts the certificate where its key lies.
func (s *WebServer) Carry(_ context.Context, _ string, asked []byte) ([]byte, error) {
	var question struct {
		Operation string
		Task      struct{ Certificate string }
	}
	if err := json.Unmarshal(asked, &question); err != nil || question.Operation != "deploy" {
		return nil, fmt.Errorf("the web server is asked to %q: %w", question.Operation, err)
	}
	var chain tls.Certificate
	for block, rest := pem.Decode([]byte(question.Task.Certificate)); block != nil; block, rest = pem.Decode(rest) {
		chain.Certificate = append(chain.Certificate, block.Bytes)
	}
	if len(chain.Certificate) == 0 {
		return []byte(`{"protocol":1,"answer":"rejected","message":"there is no certificate in it"}`), nil
	}
	leaf, err := x509.ParseCertificate(chain.Certificate[0])
	if err != nil {
		return nil, err
	}
	s.lock.Lock()
	defer s.lock.Unlock()
	for _, key := range s.keys {
		public, err := x509.MarshalPKIXPublicKey(key.Public())
		if err != nil {
			return nil, err
		}
		if bytes.Equal(public, leaf.RawSubjectPublicKeyInfo) {
			chain.PrivateKey = key
		}
	}
	switch {
	case chain.PrivateKey == nil:
		return []byte(`{"protocol":1,"answer":"rejected","message":"the key of this certificate is not here"}`), nil
	case !s.stuck:
		s.shows = &chain
	}
	return []byte(`{"protocol":1,"answer":"done"}`), nil
}
