package rooted_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"time"

	"cocoon/contracts/registry"
	"cocoon/contracts/registry/follow"
	"cocoon/host/gateway"
	"cocoon/host/gateway/attest"
	"cocoon/host/gateway/keys"
	"cocoon/host/gateway/receipts"
	"cocoon/host/gateway/rootview"
	"cocoon/host/gateway/upstream"
	"cocoon/measure/dcap"
	"cocoon/measure/policy"
	"cocoon/measure/ratls"
)

// wallet is whose requests the gateway sends.
const wallet = "0:0404040404040404040404040404040404040404040404040404040404040404"

// startGateway starts the client role: proxies, images, prices and contracts are the root's.
func (w *world) startGateway() {
	w.t.Helper()
	root, err := follow.New(&follow.Section{
		Address: w.root, Network: registry.Localnet, Config: w.global, Every: follow.MinEvery, OneServer: true,
	}, follow.Deps{Now: time.Now})
	check(w.t, err)
	root.Start(w.t.Context())
	var pool *upstream.Pool
	var judging *attest.Network
	view, err := rootview.New(root, func(c rootview.Changes) {
		if pool == nil {
			return
		}
		judging.Notify("root")
		if c.Params {
			pool.Renew()
		}
	})
	check(w.t, err)
	id := w.platform.RootID()
	proxies, err := policy.Parse(fmt.Appendf(nil, `{"type":"tdx","allow_simulated":true,"allowed_collateral_root_hashes":["%x"],"image_source":"chain"}`, id[:]))
	check(w.t, err)
	verifier := dcap.NewVerifier(w.platform.Roots(), 16)
	judge, err := ratls.NewJudge(ratls.JudgeConfig{Verifier: verifier, Collateral: w.platform, Now: time.Now})
	check(w.t, err)
	nobody, err := ratls.NewIdentity(ratls.IdentityConfig{Now: time.Now})
	check(w.t, err)
	check(w.t, nobody.Refresh(w.t.Context()))
	judging = attest.New(attest.Config{
		Proxies: proxies, ProxyImages: view.Images(registry.Proxies), WorkerImages: view.Images(registry.Workers), Judge: judge, Verifier: verifier,
		Collateral: w.platform, Identity: nobody, Prices: view, Now: time.Now,
	})
	quiet := slog.New(slog.DiscardHandler)
	account := attest.RootAccount{SecretAccount: attest.SecretAccount{Wallet: wallet}, Root: view}
	pool, err = upstream.New(upstream.Config{
		Proxies: view.Proxies(), Dial: judging.Dial, Account: account, Test: true, ConfigVersion: view.ConfigVersion, Now: time.Now, Log: quiet,
		Backoff: 20 * time.Millisecond, Poll: 50 * time.Millisecond,
	})
	check(w.t, err)
	store, err := receipts.Open(receipts.Config{Dir: w.t.TempDir(), Now: time.Now})
	check(w.t, err)
	w.t.Cleanup(func() { check(w.t, store.Close()) })
	server, err := gateway.New(gateway.Config{
		Pool: pool, Keys: new(keys.Book), Store: store, Checker: receipts.NewChecker(judging, time.Now), Test: true, Owner: wallet, Now: time.Now, Log: quiet,
	})
	check(w.t, err)
	l, err := new(net.ListenConfig).Listen(w.t.Context(), "tcp", "127.0.0.1:0")
	check(w.t, err)
	w.url = "http://" + l.Addr().String()
	w.background(view.Run)
	w.background(judging.Run)
	w.background(func(ctx context.Context) error { return server.Run(ctx, l) })
	w.t.Cleanup(w.app.CloseIdleConnections)
}

// bill is what a receipt says about the price, and what the gateway thinks of the receipt.
type bill struct {
	Price  string `json:"price_per_token_nano"`
	Config int64  `json:"config_version"`
	Params int64  `json:"params_version"`
}

// chat asks for a completion and returns its bill, from a receipt that the gateway has verified. It is asked again while
// nobody can serve it.
func (w *world) chat() (b bill) {
	w.t.Helper()
	w.until(func() (bool, string) {
		status, header, body := w.post("good")
		if status != http.StatusOK {
			return false, fmt.Sprintf("status %d, %s", status, body)
		}
		b = w.receipt(header.Get("X-Receipt-Id"))
		return true, ""
	})
	return b
}

// post asks once; the fault is what the engine does.
func (w *world) post(fault string) (int, http.Header, string) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), patience)
	defer cancel()
	body := fmt.Sprintf(`{"model":%q,"max_tokens":50,"messages":[{"role":"user","content":"hello fault:%s "}]}`, base, fault)
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, w.url+"/v1/chat/completions", strings.NewReader(body))
	check(w.t, err)
	req.Header.Set("Content-Type", "application/json")
	resp, err := w.app.Do(req)
	check(w.t, err)
	defer resp.Body.Close() //nolint:errcheck // read side
	text, err := io.ReadAll(resp.Body)
	check(w.t, err)
	return resp.StatusCode, resp.Header, string(text)
}

// receipt waits for a receipt and checks the gateway's verdict on it.
func (w *world) receipt(id string) (b bill) {
	w.t.Helper()
	var kept struct {
		Class, Why string
		Receipt    struct {
			Events []json.RawMessage `json:"event_log"`
		}
	}
	w.until(func() (bool, string) {
		raw := w.get(w.url + "/v1/aci/receipts/" + id + "?verdict=1")
		kept.Class = ""
		err := json.Unmarshal([]byte(raw), &kept)
		return err == nil && kept.Class != "", fmt.Sprintf("receipt %q: %v in %s", id, err, raw)
	})
	if kept.Class != "ok" {
		w.t.Errorf("the receipt is judged %s: %s", kept.Class, kept.Why)
	}
	for _, e := range kept.Receipt.Events {
		var kind struct{ Type string }
		check(w.t, json.Unmarshal(e, &kind))
		if kind.Type == "usage.metered" {
			check(w.t, json.Unmarshal(e, &b))
		}
	}
	return b
}
