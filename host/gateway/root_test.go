package gateway

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/xssnick/tonutils-go/address"

	"cocoon/contracts/api/stats"
	"cocoon/contracts/bind"
	"cocoon/contracts/chain"
	"cocoon/contracts/code"
	"cocoon/contracts/pricing"
	"cocoon/contracts/registry"
	"cocoon/contracts/registry/follow"
	"cocoon/contracts/wire/tl"
)

// viewed is a root contract as a test wants it seen.
type viewed struct {
	mu    sync.Mutex
	state follow.State
	root  *registry.Snapshot
}

func (v *viewed) State() follow.State {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.state
}

func (v *viewed) Newest() *registry.Snapshot {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.root
}

func (v *viewed) set(s follow.State, root *registry.Snapshot) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.state, v.root = s, root
}

func seen(age time.Duration, err, last error) follow.State {
	return follow.State{
		Known: true, Synced: time.Unix(1_800_000_000, 0), Age: age, Seqno: 77, Light: follow.LightOf(age), Version: 12, ParamsVersion: 3, Err: err, Last: last,
	}
}

func someRoot() *registry.Snapshot {
	owner := address.NewAddress(0, 0, append(make([]byte, 31), 7))
	return &registry.Snapshot{Root: owner, RootStorage: bind.RootStorage{
		Owner: owner, Version: 12, ProxyHashes: []bind.Hash{{1}}, WorkerHashes: []bind.Hash{{2}, {3}}, LastSeqno: 5,
		Proxies: []bind.RegisteredProxy{{Seqno: 4, Addr: "10.0.0.1:5222 10.0.0.1:8888"}, {Seqno: 5, Addr: "<script>"}},
		Params: bind.Params{
			StructVersion: 4, ParamsVersion: 3, UniqueID: 239, IsTest: true, PricePerToken: 20, WorkerFee: 19, PromptMultiplier: 10000, CachedMultiplier: 1000,
			CompletionMultiplier: 80000, ReasoningMultiplier: 80000, ProxyDelay: 86400, ClientDelay: 43200, MinProxyStake: 15e9, MinClientStake: 15e9,
			Proxy: code.Proxy(), Worker: code.Worker(),
		},
	}}
}

func TestTheAgeOfTheRootIsShownAndSaysWhatItMeans(t *testing.T) {
	v := &viewed{}
	w := start(t, setup{chain: v}, newScripted("p1", 5, good))
	silent := errors.New("no liteserver answers")
	for name, tc := range map[string]struct {
		state  follow.State
		code   string // "" is no reason
		says   string
		health string // of the page
	}{
		"young":         {seen(10*time.Second, nil, nil), "", "", "OK"},
		"just young":    {seen(599*time.Second, nil, silent), "", "", "OK"},
		"late":          {seen(600*time.Second, nil, silent), "root_config_late", "10m0s ago; the last attempt to read it ended with: no liteserver answers", "degraded"},
		"stale":         {seen(time.Hour, nil, silent), "root_config_stale", "it serves until 2h0m0s", "degraded"},
		"too old":       {seen(3*time.Hour, fmt.Errorf("root: %w", chain.ErrStaleHead), silent), "root_config_stale", "no proxy is admitted by it", "degraded"},
		"never read":    {follow.State{Light: follow.Red, Err: registry.ErrNoSnapshot, Last: silent}, "root_config_unread", "no liteserver answers", "degraded"},
		"another chain": {follow.State{Light: follow.Red, Err: registry.ErrNetwork}, "root_config_invalid", "wrong network", "degraded"},
	} {
		v.set(tc.state, someRoot())
		var doc struct {
			Ready   bool                          `json:"ready"`
			Reasons []struct{ Code, Text string } `json:"reasons"`
			Chain   *chainAge                     `json:"chain"`
		}
		r := w.do("GET", "/readyz", "")
		if err := json.Unmarshal([]byte(r.body), &doc); err != nil || r.status != 200 || !doc.Ready {
			t.Fatalf("%s: %d %s: a proxy is connected, so it serves", name, r.status, r.body)
		}
		if tc.code == "" && len(doc.Reasons) != 0 || tc.code != "" && (len(doc.Reasons) != 1 || doc.Reasons[0].Code != tc.code || !strings.Contains(doc.Reasons[0].Text, tc.says)) {
			t.Errorf("%s: %s", name, r.body)
		}
		if doc.Chain == nil || doc.Chain.Light != string(tc.state.Light) || doc.Chain.Age != int64(tc.state.Age.Seconds()) {
			t.Errorf("%s: %s", name, r.body)
		}
		if page := w.server.page(); page.Verdict.Word != tc.health {
			t.Errorf("%s: the page says %+v", name, page.Verdict)
		}
	}
	v.set(seen(time.Minute, nil, nil), someRoot())
	if r := w.do("GET", "/metrics", ""); !strings.Contains(r.body, "cocoon_gateway_root_age_seconds 60") || !strings.Contains(r.body, "cocoon_gateway_root_version 12") {
		t.Errorf("metrics:\n%s", r.body)
	}
	if r := w.do("GET", "/stats", ""); !strings.Contains(r.body, "1m0s ago, block 77") {
		t.Error("the page does not show the age")
	}
}

func TestTheRootIsShownUnderTheReferencesKeys(t *testing.T) {
	v := &viewed{}
	v.set(seen(time.Minute, nil, nil), nil)
	w := start(t, setup{chain: v}, newScripted("p1", 5, good))
	if r := w.do("GET", "/jsonstats", ""); strings.Contains(r.body, "root_contract_config") {
		t.Errorf("a root that was never read is shown: %s", r.body)
	}
	v.set(seen(time.Minute, nil, nil), someRoot())
	var doc struct {
		Status struct {
			Synced int64 `json:"ton_last_synced_at"`
		} `json:"status"`
		Root map[string]any `json:"root_contract_config"`
	}
	r := w.do("GET", "/jsonstats", "")
	if err := json.Unmarshal([]byte(r.body), &doc); err != nil || doc.Status.Synced != 1_800_000_000 {
		t.Fatalf("%s, %v", r.body, err)
	}
	for key, want := range map[string]any{
		"version": 12.0, "params_version": 3.0, "struct_version": 4.0, "unique_id": 239.0, "is_test": true, "price_per_token": 20.0, "worker_fee_per_token": 19.0,
		"prompt_tokens_price_multiplier": 10000.0, "cached_tokens_price_multiplier": 1000.0, "completion_tokens_price_multiplier": 80000.0,
		"reasoning_tokens_price_multiplier": 80000.0, "proxy_delay_before_close": 86400.0, "client_delay_before_close": 43200.0, "proxy_min_stake": 15e9,
		"client_min_stake": 15e9, "last_proxy_seqno": 5.0, "client_code_hash": "",
	} {
		if got := doc.Root[key]; got != want {
			t.Errorf("%s: %v, want %v", key, got, want)
		}
	}
	if !strings.Contains(r.body, `"worker_hashes":["02`+strings.Repeat("0", 62)+`","03`+strings.Repeat("0", 62)+`"]`) {
		t.Errorf("worker_hashes %v", doc.Root["worker_hashes"])
	}
	if text, ok := doc.Root["proxy_code_hash"].(string); !ok || len(text) != 64 {
		t.Errorf("proxy_code_hash %v", doc.Root["proxy_code_hash"])
	}
	if !strings.Contains(r.body, `"registered_proxies":[{"seqno":4,"address_for_clients":"10.0.0.1:8888","address_for_workers":"10.0.0.1:5222"}]`) {
		t.Errorf("registered proxies: %s", r.body)
	}
}

func TestAProxyThatAsksForMoreThanItsReceiptsSayIsRed(t *testing.T) {
	asks := int64(16)
	p := newScripted("p1", 5, func(p *scripted, q *query) {
		good(p, q)
		q.send(&tl.ProxyClientRequestPayment{SignedPayment: &tl.ProxySignedPaymentEmpty{}, DBTokens: asks, MaxTokens: 5000})
	})
	w := start(t, setup{}, p)
	ask := func() {
		t.Helper()
		if r := w.chat(""); r.status != 200 {
			t.Fatalf("%d %s", r.status, r.body)
		}
		w.server.running.end()
		w.until(func() bool { s := w.server.cfg.Pool.Status()[0]; return s.DBTokens == asks && s.Running == 0 })
		w.server.audit()
	}
	ask() // 16 tokens, as the receipt says
	if reasons := w.server.audited.reasons(); len(reasons) != 0 {
		t.Fatalf("an honest proxy: %v", reasons)
	}
	asks = 33
	ask() // 32 are on the receipts
	if r := w.do("GET", "/readyz", ""); r.status != 200 || !strings.Contains(r.body, `"overcharged"`) || !strings.Contains(r.body, "has used 33 tokens") {
		t.Errorf("/readyz: %d %s", r.status, r.body)
	}
	if v := w.server.page().Verdict; v.Health != stats.Bad {
		t.Errorf("the page says %+v", v)
	}
	if !strings.Contains(w.log.String(), "asks for more than its receipts say") {
		t.Error("it was not logged")
	}
	asks = 48
	ask() // it was corrected
	if reasons := w.server.audited.reasons(); len(reasons) != 0 {
		t.Errorf("it was corrected: %v", reasons)
	}
}

// TestABudgetOfCoinsKnowsThePrice: what a request sets aside is the most that any worker within its limits could bill.
func TestABudgetOfCoinsKnowsThePrice(t *testing.T) {
	v := &viewed{}
	limit := pricing.Ask{QueryBytes: 100, MaxTokens: 10, N: 2, MaxCoefficient: 2000}
	s := &Server{cfg: Config{Chain: v}}
	if got := (&Server{}).price(limit) + s.price(limit); got != 0 {
		t.Errorf("a price that nobody knows is %d", got)
	}
	root := someRoot()
	v.set(seen(time.Minute, nil, nil), root)
	if got, least := s.price(limit), uint64(20*(10*2*2*8)); got < least || got > 20*least {
		t.Errorf("got %d, and its answers alone can cost %d", got, least)
	}
	root.Params.PricePerToken = math.MaxInt64
	limit.MaxTokens = math.MaxInt32
	if got := s.price(limit); got != math.MaxUint64 {
		t.Errorf("a price beyond all coins is %d", got)
	}
}
