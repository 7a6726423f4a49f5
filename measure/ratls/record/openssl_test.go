package record_test

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"cocoon/measure/ratls/record"
)

// OpenSSL speaks to us under both suites, and updates its keys and asks for ours when told to (its commands k and K).
func TestOpenSSL(t *testing.T) {
	binary, err := exec.LookPath("openssl")
	if err != nil {
		t.Skip("no openssl on this machine")
	}
	for _, suite := range []string{"TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384"} {
		t.Run(suite, func(t *testing.T) {
			l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = l.Close() }()
			cmd := exec.CommandContext(t.Context(), binary, "s_client", "-connect", l.Addr().String(), "-tls1_3", "-ciphersuites", suite, "-quiet", "-no_ign_eof")
			cmd.WaitDelay = patience
			told, err := cmd.StderrPipe()
			if err != nil {
				t.Fatal(err)
			}
			say, err := cmd.StdinPipe()
			if err != nil {
				t.Fatal(err)
			}
			hear, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			raw, err := l.Accept()
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = raw.Close() }()
			_ = raw.SetDeadline(time.Now().Add(patience))
			c, state := takeOver(t, raw)
			if got := tls.CipherSuiteName(state.CipherSuite); got != suite {
				t.Fatalf("suite is %s", got)
			}
			lines, heard, updates := bufio.NewReader(c), bufio.NewReader(hear), bufio.NewScanner(told)
			for i, command := range []string{"", "k", "K", "k", "K"} {
				if command != "" { // it takes one that comes alone, and says so
					_, _ = fmt.Fprintln(say, command)
					for updates.Scan() && updates.Text() != "KEYUPDATE" {
						continue
					}
				}
				want := fmt.Sprintf("line %d\n", i)
				if _, err := io.WriteString(say, want); err != nil {
					t.Fatal(err)
				}
				if got, err := lines.ReadString('\n'); got != want {
					t.Fatalf("after %q: %q (%v)", command, got, err)
				}
				answer := strings.Repeat("answer ", 10_000) + "\n"
				sent := make(chan error, 1)
				go func() {
					_, err := io.WriteString(c, answer)
					sent <- err
				}()
				if got, err := heard.ReadString('\n'); got != answer {
					t.Fatalf("OpenSSL hears %d bytes (%v), want %d", len(got), err, len(answer))
				}
				if err := <-sent; err != nil {
					t.Fatal(err)
				}
			}
			if err := c.CloseWrite(); err != nil {
				t.Fatal(err)
			}
			_ = say.Close()
			if rest, err := io.ReadAll(c); len(rest) > 0 || err != nil {
				t.Errorf("at the end %q (%v)", rest, err)
			}
			_, _ = io.Copy(io.Discard, told)
			if err := cmd.Wait(); err != nil {
				t.Errorf("OpenSSL ends with %v", err)
			}
		})
	}
}

// takeOver makes the handshake of a server and takes the connection over.
func takeOver(t *testing.T, raw net.Conn) (*record.Conn, tls.ConnectionState) {
	t.Helper()
	keys, fence := new(record.KeyLog), record.NewFence(raw)
	server := tls.Server(fence, &tls.Config{
		Certificates: []tls.Certificate{certificate(t)}, MinVersion: tls.VersionTLS13, SessionTicketsDisabled: true, KeyLogWriter: keys,
	})
	if err := server.HandshakeContext(t.Context()); err != nil {
		t.Fatal(err)
	}
	c, err := record.New(fence, server.ConnectionState(), keys, false)
	if err != nil {
		t.Fatal(err)
	}
	return c, server.ConnectionState()
}

// OpenSSL's server sends tickets after the handshake, which a client of ours passes over.
func TestOpenSSLServersTicketsArePassedOver(t *testing.T) {
	binary, err := exec.LookPath("openssl")
	if err != nil {
		t.Skip("no openssl on this machine")
	}
	dir, own := t.TempDir(), certificate(t)
	key, err := exec.CommandContext(t.Context(), binary, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
		"-subj", "/CN=x", "-keyout", filepath.Join(dir, "key"), "-out", filepath.Join(dir, "crt")).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, key)
	}
	if err := os.WriteFile(filepath.Join(dir, "ca"), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: own.Certificate[0]}), 0o600); err != nil {
		t.Fatal(err)
	}
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	_ = l.Close()
	cmd := exec.CommandContext(t.Context(), binary, "s_server", "-accept", addr, "-cert", filepath.Join(dir, "crt"), "-key", filepath.Join(dir, "key"),
		"-tls1_3", "-num_tickets", "4", "-verify", "1", "-rev", "-naccept", "1")
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr, cmd.WaitDelay = &out, &out, patience
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}()
	var raw net.Conn
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for end := time.After(patience); raw == nil; {
		if raw, err = new(net.Dialer).DialContext(t.Context(), "tcp", addr); err == nil {
			break
		}
		select {
		case <-tick.C:
		case <-end:
			t.Fatalf("OpenSSL does not listen: %s", out.String())
		}
	}
	defer func() { _ = raw.Close() }()
	_ = raw.SetDeadline(time.Now().Add(patience))
	keys, fence := new(record.KeyLog), record.NewFence(raw)
	client := tls.Client(fence, &tls.Config{
		InsecureSkipVerify: true, Certificates: []tls.Certificate{own}, MinVersion: tls.VersionTLS13, SessionTicketsDisabled: true, KeyLogWriter: keys,
	})
	if err := client.HandshakeContext(t.Context()); err != nil {
		t.Fatal(err)
	}
	c, err := record.New(fence, client.ConnectionState(), keys, true)
	if err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewReader(c)
	for _, line := range []string{"abc", "12345"} {
		if _, err := io.WriteString(c, line+"\n"); err != nil {
			t.Fatal(err)
		}
		var reversed []byte
		for i := range line {
			reversed = append(reversed, line[len(line)-1-i])
		}
		if got, err := lines.ReadString('\n'); strings.TrimSpace(got) != string(reversed) {
			t.Errorf("%q comes back as %q (%v)", line, got, err)
		}
	}
}
