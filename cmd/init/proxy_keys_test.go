package main

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"cocoon/contracts/promptcrypt"
	"cocoon/contracts/wire"
	"cocoon/contracts/wire/session"
	"cocoon/contracts/wire/tl"
	"cocoon/measure/dcap"
	"cocoon/measure/tdx"
)

// keeper is a key manager with one key.
type keeper struct{ nobody }

func (keeper) Query(_ context.Context, fn tl.Function) (tl.Object, error) {
	if _, ok := fn.(*tl.KeyManagerGetProxyPrivateKeys); !ok {
		return nil, &session.QueryError{Code: session.CodeProtocol, Message: "unknown function"}
	}
	return &tl.KeyManagerPrivateKeys{Keys: []tl.KeyManagerPrivateKey{{PrivateKey: [32]byte{7}, ValidUntilUtime: 2_000_000_000}}}, nil
}

// TestTheProxyFetchesItsKeys through the router, and from a listed key manager only.
func TestTheProxyFetchesItsKeys(t *testing.T) {
	report := &wire.TDXReport{RTMR: [4][48]byte{{1}, {2}, {3}, {4}}, CollateralRoot: dcap.IntelRootID()}
	simulated := *report
	simulated.CollateralRoot[0]++
	image := tdx.ImageHash(&tdx.Measurements{RTMR: [4]tdx.Digest{{1}, {2}, {3}, {4}}})
	for name, tc := range map[string]struct {
		report *wire.TDXReport
		images []string
		want   bool
	}{
		"listed":                     {report, []string{fmt.Sprintf("%x", image[:])}, true},
		"below another root":         {&simulated, []string{fmt.Sprintf("%x", image[:])}, false},
		"another image":              {report, []string{strings.Repeat("ab", 32)}, false},
		"not attested":               {nil, []string{fmt.Sprintf("%x", image[:])}, false},
		"no list, in a test network": {nil, nil, true},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			asked := make(chan []byte, 16)
			via := standInRouter(t, func(conn net.Conn, got []byte) {
				asked <- got
				here := netip.MustParseAddrPort("127.0.0.1:1")
				data, err := (&wire.Preamble{TDX: tc.report, Source: here, Destination: here}).Append([]byte{5, 0, 0, 1, 127, 0, 0, 1, 0, 1}, wire.Apr2026)
				if err != nil {
					t.Error(err)
				}
				_, _ = conn.Write(data)
				_ = session.New(conn, session.Options{}, keeper{}).Run(ctx)
			})
			c, _, err := parseProxyConfig([]byte(strings.Replace(goodProxy, `"image_hash":""`, `"key_manager":"192.0.2.9:13001","connect_to_proxy_via":"`+via+`"`, 1)))
			if err != nil {
				t.Fatal(err)
			}
			c.KeyImages = tc.images
			p := &proxyProcess{cfg: c, log: slog.New(slog.DiscardHandler), now: time.Now}
			ring, err := p.keyRing()
			if err != nil || len(p.background) != 1 {
				t.Fatalf("%v, %d in the background", err, len(p.background))
			}
			var running sync.WaitGroup
			running.Go(func() { _ = p.background[0](ctx) })
			if got := <-asked; !bytes.Equal(got, []byte{5, 1, 0, 1, 192, 0, 2, 9, 50, 201}) {
				t.Errorf("asked the router % x", got)
			}
			key, ok := ring.Private(ctx, promptcrypt.Public([32]byte{7}))
			if ok != tc.want || ok && key != [32]byte{7} {
				t.Errorf("held %v: %+v", ok, ring.Status())
			}
			cancel()
			running.Wait()
		})
	}
}

func TestAProxyWithoutAKeyManagerHasNoRing(t *testing.T) {
	c, _, err := parseProxyConfig([]byte(goodProxy))
	if err != nil {
		t.Fatal(err)
	}
	p := &proxyProcess{cfg: c, log: slog.New(slog.DiscardHandler), now: time.Now}
	if ring, err := p.keyRing(); ring != nil || err != nil || len(p.background) != 0 {
		t.Errorf("%v %v", ring, err)
	}
	for name, tc := range map[string]struct{ add, want string }{
		"no port":    {`"key_manager":"km"`, "host:port"},
		"no way":     {`"key_manager":"km:13001"`, "connect_to_proxy_via"},
		"bad hashes": {`"key_manager":"km:13001","connect_to_proxy_via":"127.0.0.1:1","key_manager_image_hashes":["x"]`, "key_manager_image_hashes"},
	} {
		if _, _, err := parseProxyConfig([]byte(strings.Replace(goodProxy, `"image_hash":""`, tc.add, 1))); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
