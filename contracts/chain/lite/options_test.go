package lite

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/xssnick/tonutils-go/address"
	"github.com/xssnick/tonutils-go/liteclient"
	"github.com/xssnick/tonutils-go/ton"
	"github.com/xssnick/tonutils-go/tvm/cell"

	"cocoon/contracts/chain"
	"cocoon/contracts/chain/local/adnl"
)

func server(n byte) Server {
	key := make([]byte, ed25519.PublicKeySize)
	key[0] = n
	return Server{Addr: netip.MustParseAddrPort(fmt.Sprintf("127.0.0.1:%d", 1000+int(n))), Key: key}
}

func TestOptionsAreChecked(t *testing.T) {
	trusted := KeyBlock{Seqno: 1, RootHash: chain.Hash{1}, FileHash: chain.Hash{2}}
	good := Options{Servers: []Server{server(1), server(2)}, Trusted: trusted}
	if err := good.validate(); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		change func(*Options)
		says   string
	}{
		"one server":   {func(o *Options) { o.Servers = o.Servers[:1] }, "servers: 1"},
		"no server":    {func(o *Options) { o.Servers, o.OneServer = nil, true }, "servers: 0"},
		"crowd":        {func(o *Options) { o.Servers = make([]Server, maxServers+1) }, "servers: 65"},
		"same key":     {func(o *Options) { o.Servers = []Server{server(1), server(1)} }, "same key"},
		"no port":      {func(o *Options) { o.Servers[0].Addr = netip.MustParseAddrPort("127.0.0.1:0") }, "servers[0]"},
		"short key":    {func(o *Options) { o.Servers[1].Key = o.Servers[1].Key[:31] }, "31 bytes"},
		"zero state":   {func(o *Options) { o.Trusted.Seqno = 0 }, "zero state"},
		"no hash":      {func(o *Options) { o.Trusted.FileHash = chain.Hash{} }, "pin a key block"},
		"past timeout": {func(o *Options) { o.Timeout = -1 }, "timeout"},
	} {
		t.Run(name, func(t *testing.T) {
			o := good
			o.Servers = append([]Server(nil), good.Servers...)
			c.change(&o)
			if err := o.validate(); err == nil || !strings.Contains(err.Error(), c.says) {
				t.Errorf("got %v, want it to name %q", err, c.says)
			}
		})
	}
}

func TestTrustIsTheNewerOfPinnedAndStored(t *testing.T) {
	old, fresh := KeyBlock{Seqno: 5, RootHash: chain.Hash{5}}, KeyBlock{Seqno: 9, RootHash: chain.Hash{9}}
	for name, c := range map[string]struct {
		pinned KeyBlock
		stored *KeyBlock
		want   KeyBlock
		err    error
	}{
		"nothing stored": {old, nil, old, nil},
		"stored newer":   {old, &fresh, fresh, nil},
		"pinned newer":   {fresh, &old, fresh, nil},
		"same":           {old, &old, old, nil},
		"contradiction":  {old, &KeyBlock{Seqno: 5, RootHash: chain.Hash{6}}, KeyBlock{}, chain.ErrForked},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := newestTrust(Options{Trusted: c.pinned, Store: &MemoryTrust{saved: c.stored}})
			if !errors.Is(err, c.err) || got != c.want {
				t.Errorf("%+v, %v", got, err)
			}
		})
	}
}

func TestDamagedTrustIsRefused(t *testing.T) {
	f := FileTrust{Path: filepath.Join(t.TempDir(), "trusted.json")}
	if k, err := f.Load(); err != nil || k != nil {
		t.Fatalf("before saving: %v, %v", k, err)
	}
	want := KeyBlock{Seqno: 7, RootHash: chain.Hash{1}, FileHash: chain.Hash{2}}
	if err := f.Save(want); err != nil {
		t.Fatal(err)
	}
	good, err := os.ReadFile(f.Path)
	if err != nil {
		t.Fatal(err)
	}
	if k, err := f.Load(); err != nil || *k != want {
		t.Errorf("%+v, %v", k, err)
	}
	for name, data := range map[string]string{
		"empty":       "",
		"cut":         string(good[:20]),
		"more":        string(good) + " ",
		"schema":      strings.Replace(string(good), "/1", "/2", 1),
		"zero":        strings.Replace(string(good), `"seqno":7`, `"seqno":0`, 1),
		"member":      strings.Replace(string(good), `{`, `{"x":1,`, 1),
		"upper case":  strings.ToUpper(string(good)),
		"huge":        strings.Repeat(" ", maxTrustFile+1),
		"short hash":  strings.Replace(string(good), "0100", "01", 1),
		"other order": `{"seqno":7,"schema":"cocoon.trusted_block/1"}`,
	} {
		if err := os.WriteFile(f.Path, []byte(data), 0o600); err != nil {
			t.Fatal(err)
		}
		if k, err := f.Load(); !errors.Is(err, chain.ErrMalformed) {
			t.Errorf("%s: %+v, %v", name, k, err)
		}
	}
	if err := (FileTrust{Path: filepath.Join(t.TempDir(), "no", "folder")}).Save(want); err == nil {
		t.Error("saved into nothing")
	}
}

func TestGlobalConfigIsRead(t *testing.T) {
	n := newNetwork(t)
	raw, err := adnl.GlobalConfig(n.Chain, adnl.Endpoint{Addr: n.servers[0].Addr(), Key: n.servers[0].Key()}, adnl.Endpoint{Addr: netip.MustParseAddrPort("203.0.113.9:4443"), Key: n.servers[1].Key()})
	if err != nil {
		t.Fatal(err)
	}
	got, err := ParseGlobalConfig(raw)
	if err != nil {
		t.Fatal(err)
	}
	if got.Init != n.pinned(t, 1) || len(got.Servers) != 2 || got.Servers[0].Addr != n.servers[0].Addr() || got.Servers[1].Addr.String() != "203.0.113.9:4443" {
		t.Errorf("%+v", got)
	}
	for name, c := range map[string]struct{ from, to, says string }{
		"type":      {"config.global\"", "config.local\"", "@type"},
		"port":      {"\"port\": 4443", "\"port\": 70000", "liteservers[1].port"},
		"address":   {"\"ip\": ", "\"ip\": 99999", "liteservers[0].ip"},
		"workchain": {"\"init_block\": {\n      \"workchain\": -1", "\"init_block\": {\n      \"workchain\": 0", "init_block"},
		"hash":      {"\"seqno\": 1,\n      \"root_hash\": \"", "\"seqno\": 1,\n      \"root_hash\": \"AAAA", "32 bytes"},
		"number":    {"\"seqno\": 1", "\"seqno\": -1", "init_block.seqno"},
	} {
		bad := strings.Replace(string(raw), c.from, c.to, 1)
		if _, err := ParseGlobalConfig([]byte(bad)); !errors.Is(err, chain.ErrMalformed) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, want it to name %q", name, err, c.says)
		}
	}
}

func TestErrorsGetTheirNames(t *testing.T) {
	for name, c := range map[string]struct{ err, want error }{
		"block not there": {ton.LSError{Code: 651}, chain.ErrUnknownBlock},
		"late block":      {ton.LSError{Code: 652}, chain.ErrUnknownBlock},
		"archive":         {ton.LSError{Code: -400}, chain.ErrMissing},
		"limit":           {ton.LSError{Code: 228}, chain.ErrBusy},
		"busy":            {liteclient.ServerBusy{Code: 1}, chain.ErrUnavailable},
		"late":            {context.DeadlineExceeded, chain.ErrUnavailable},
		"gone":            {errGone, chain.ErrUnavailable},
		"silent":          {liteclient.ErrNoActiveConnections, chain.ErrUnavailable},
	} {
		err := classify(fmt.Errorf("asking: %w", c.err))
		if !errors.Is(err, c.want) || !errors.Is(err, c.err) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if classify(nil) != nil || proofError(nil) != nil {
		t.Error("no error became one")
	}
	if err := proofError(errors.New("hash differs")); !errors.Is(err, chain.ErrProof) {
		t.Errorf("got %v", err)
	}
	if err := guard(func() error { panic("what a server sent") }); !errors.Is(err, chain.ErrProof) { //nolint:forbidigo // the panic under test
		t.Errorf("got %v", err)
	}
}

func TestConfigurationsAreForgotten(t *testing.T) {
	var c configCache
	for i := range uint32(10) {
		c.put(i, chain.NewConfig(cell.BeginCell().EndCell()))
	}
	if len(c.held) != maxConfigs || c.get(9) == nil || c.get(0) != nil {
		t.Errorf("%d are held", len(c.held))
	}
}

func TestClosedClientSaysSo(t *testing.T) {
	n := newNetwork(t)
	c := n.client(t)
	at := head(t, c)
	c.Close()
	if _, err := c.Head(t.Context()); !errors.Is(err, errClosed) {
		t.Errorf("head: %v", err)
	}
	if _, err := c.Account(t.Context(), at, n.Faucet()); !errors.Is(err, errClosed) {
		t.Errorf("account: %v", err)
	}
	if _, err := c.Account(t.Context(), at, address.NewAddressNone()); !errors.Is(err, chain.ErrMalformed) {
		t.Errorf("no address: %v", err)
	}
	if err := c.Send(t.Context(), nil); !errors.Is(err, chain.ErrMalformed) {
		t.Errorf("no message: %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := c.Wait(ctx, 99); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("wait: %v", err)
	}
}

func TestPastRefusesToBeginNowhere(t *testing.T) {
	n := newNetwork(t)
	c := n.client(t)
	if _, err := c.Past(t.Context(), n.Faucet(), chain.Cursor{LT: 5}, 3); !errors.Is(err, chain.ErrMalformed) {
		t.Errorf("without a hash: %v", err)
	}
	if _, err := c.Past(t.Context(), n.Faucet(), chain.Cursor{LT: 5, Hash: chain.Hash{1}}, 3); !errors.Is(err, chain.ErrMissing) {
		t.Errorf("a transaction that is not there: %v", err)
	}
}
