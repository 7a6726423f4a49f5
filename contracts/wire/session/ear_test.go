package session

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"math/big"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"cocoon/contracts/wire/tl"
)

// TestSilenceIsCountedFromTheLastWord: a peer that spoke has its whole time again, and no more than that.
func TestSilenceIsCountedFromTheLastWord(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const spoke, dead = 25 * time.Second, 30 * time.Second
		a, b := net.Pipe()
		go io.Copy(io.Discard, b) //nolint:errcheck // it hears what comes
		word := frameOf(&tl.TCPConnect{ID: 1})
		time.AfterFunc(spoke, func() { _, _ = b.Write(word) })
		began := time.Now()
		err := New(a, Options{Dead: dead}, &echo{}).Run(t.Context())
		if took := time.Since(began); !errors.Is(err, ErrSilent) || took != spoke+dead {
			t.Errorf("%v after %s, want %s", err, took, spoke+dead)
		}
		_ = b.Close()
	})
}

// TestTLSOutlivesTheDeadline: the record layer reads on behind a deadline that was reached and moved.
func TestTLSOutlivesTheDeadline(t *testing.T) {
	certificate := selfSigned(t)
	synctest.Test(t, func(t *testing.T) {
		a, b := net.Pipe()
		dialer := New(tls.Client(a, &tls.Config{InsecureSkipVerify: true}), Options{Dialer: true}, &echo{})
		acceptor := New(tls.Server(b, &tls.Config{Certificates: []tls.Certificate{certificate}}), Options{}, &echo{})
		ctx, cancel := context.WithCancel(t.Context())
		ends := make(chan error, 2)
		for _, s := range []*Session{dialer, acceptor} {
			go func() { ends <- s.Run(ctx) }()
		}
		<-dialer.Ready()
		time.Sleep(10 * defaultAccept) //nolint:forbidigo // the bubble's clock
		select {
		case err := <-ends:
			t.Errorf("a session that pings ended: %v", err)
		default:
		}
		cancel()
		for range cap(ends) {
			if err := <-ends; err == nil {
				t.Error("an end without a reason")
			}
		}
	})
}

func selfSigned(tb testing.TB) tls.Certificate {
	tb.Helper()
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	doc := &x509.Certificate{SerialNumber: big.NewInt(1)}
	der, err := x509.CreateCertificate(rand.Reader, doc, doc, public, private)
	if err != nil {
		tb.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: private}
}
