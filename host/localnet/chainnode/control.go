package chainnode

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"github.com/xssnick/tonutils-go/address"
	"github.com/xssnick/tonutils-go/tvm/cell"

	"cocoon/contracts/chain/local"
	"cocoon/measure/strictjson"
)

// Limits of requests.
const (
	maxRequest = 256 << 10
	maxSteps   = 10_000
	maxDelay   = 100_000
	maxTravel  = 100 * 366 * 24 * time.Hour
)

// requestError is a request's own fault.
type requestError struct{ error }

func bad(format string, args ...any) error { return requestError{fmt.Errorf(format, args...)} }

// Status is the answer to most requests.
type Status struct {
	Seqno   uint32 `json:"seqno"`
	Time    int64  `json:"time"` // of the newest block, unix seconds
	Hash    string `json:"root_hash"`
	Mempool int    `json:"mempool"`
	Paused  bool   `json:"paused"`
	// PeriodMS is the time between blocks in milliseconds.
	PeriodMS   int64 `json:"period_ms"`
	SplitBrain bool  `json:"split_brain"`
}

// verb is one request of the control interface: what its body is read into, and what it does.
type verb struct {
	name string
	body func() any
	do   func(*Node, any) error
}

func on[B any](name string, do func(*Node, B) error) verb {
	return verb{name: name, body: func() any { return new(B) }, do: func(n *Node, body any) error {
		b, ok := body.(*B)
		if !ok {
			return errors.New("reading request: wrong type")
		}
		return do(n, *b)
	}}
}

// verbs are the POST requests below /v1/.
func verbs() []verb {
	return []verb{
		on("step", (*Node).doStep), on("pace", (*Node).doPace), on("faucet", (*Node).doFaucet), on("time", (*Node).doTime),
		on("snapshot", (*Node).doSnapshot), on("restore", (*Node).doRestore), on("faults", (*Node).doFaults),
		on("config", (*Node).doConfig),
	}
}

func (n *Node) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/status", func(w http.ResponseWriter, r *http.Request) { n.reply(w, r, nil) })
	mux.HandleFunc("GET /v1/snapshots", n.snapshots)
	for _, v := range verbs() {
		mux.HandleFunc("POST /v1/"+v.name, func(w http.ResponseWriter, r *http.Request) { n.reply(w, r, n.serve(r, v)) })
	}
	return localOnly(mux)
}

// localOnly refuses what a web page in this machine's browser could send: other hosts' names, requests with an origin,
// and bodies that are not declared as JSON.
func localOnly(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host, _, err := net.SplitHostPort(r.Host)
		ip, ipErr := netip.ParseAddr(host)
		if err != nil || (host != "localhost" && (ipErr != nil || !ip.IsLoopback())) || r.Header.Get("Origin") != "" {
			answer(w, http.StatusForbidden, map[string]string{"error": "only for programs on this machine: ask by loopback address"})
			return
		}
		if r.Method == http.MethodPost && !strings.HasPrefix(r.Header.Get("Content-Type"), "application/json") {
			answer(w, http.StatusUnsupportedMediaType, map[string]string{"error": "send Content-Type: application/json"})
			return
		}
		next.ServeHTTP(w, r)
	})
}

func (n *Node) serve(r *http.Request, v verb) error {
	raw, err := io.ReadAll(io.LimitReader(r.Body, maxRequest+1))
	if err != nil {
		return bad("reading request: %w", err)
	}
	if len(raw) > maxRequest {
		return bad("reading request: more than %d bytes", maxRequest)
	}
	body := v.body()
	if err := strictjson.Decode(raw, body); err != nil {
		return bad("reading request: %w", err)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if err := v.do(n, body); err != nil {
		return fmt.Errorf("%s: %w", v.name, err)
	}
	return nil
}

// reply answers with the status or the error. What a request got wrong is 400, what it cannot have now is 409.
func (n *Node) reply(w http.ResponseWriter, r *http.Request, err error) {
	if err != nil {
		code := http.StatusConflict
		if errors.As(err, &requestError{}) {
			code = http.StatusBadRequest
		}
		n.config.Log.Warn("Control request failed", slog.Any("err", err))
		answer(w, code, map[string]string{"error": err.Error()})
		return
	}
	s, err := n.Status(r.Context())
	if err != nil {
		answer(w, http.StatusInternalServerError, map[string]string{"error": err.Error()})
		return
	}
	answer(w, http.StatusOK, s)
}

func answer(w http.ResponseWriter, code int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(v) //nolint:errchkjson // plain values; a client that went away is its own affair
}

// Status tells where the chain is.
func (n *Node) Status(ctx context.Context) (Status, error) {
	b, err := n.chain.Head(ctx)
	if err != nil {
		return Status{}, err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	return Status{
		Seqno: b.Seqno, Time: b.Time.Unix(), Hash: b.RootHash.String(), Mempool: n.chain.MempoolSize(), Paused: n.paused,
		PeriodMS: n.period.Milliseconds(), SplitBrain: n.other != nil,
	}, nil
}

func (n *Node) snapshots(w http.ResponseWriter, r *http.Request) {
	all, err := n.chain.Snapshots()
	if err != nil {
		n.reply(w, r, err)
		return
	}
	answer(w, http.StatusOK, map[string]map[string]uint32{"snapshots": all})
}

type stepRequest struct {
	Count int `json:"count"` // 1 when left out
}

func (n *Node) doStep(r stepRequest) error {
	if r.Count == 0 {
		r.Count = 1
	}
	if r.Count < 0 || r.Count > maxSteps {
		return bad("count: %d is not 1 to %d", r.Count, maxSteps)
	}
	return n.step(r.Count)
}

type paceRequest struct {
	Paused   *bool  `json:"paused"`
	PeriodMS *int64 `json:"period_ms"`
}

func (n *Node) doPace(r paceRequest) error {
	if r.PeriodMS != nil {
		p := time.Duration(*r.PeriodMS) * time.Millisecond
		if p < MinPeriod || p > maxPeriod {
			return bad("period_ms: %d is not %d to %d", *r.PeriodMS, MinPeriod.Milliseconds(), maxPeriod.Milliseconds())
		}
		n.period = p
	}
	if r.Paused != nil {
		if !*r.Paused && n.period == 0 {
			return bad("paused: give period_ms too, none is set")
		}
		n.paused = *r.Paused
	}
	n.changed()
	return nil
}

type faucetRequest struct {
	Address string `json:"address"`
	Amount  string `json:"amount"` // nanoTON, decimal
	Body    string `json:"body"`   // BOC, base64; empty for none
}

func (n *Node) doFaucet(r faucetRequest) error {
	addr, err := parseAddress(r.Address)
	if err != nil {
		return bad("address: %w", err)
	}
	amount, ok := new(big.Int).SetString(r.Amount, 10)
	if !ok || amount.Sign() <= 0 || amount.Cmp(local.Supply()) > 0 {
		return bad("amount: %q is no number of nanoTON from 1 to %s", r.Amount, local.Supply())
	}
	var body *cell.Cell
	if r.Body != "" {
		raw, err := base64.StdEncoding.DecodeString(r.Body)
		if err != nil {
			return bad("body: %w", err)
		}
		if body, err = cell.FromBOC(raw); err != nil {
			return bad("body: %w", err)
		}
	}
	return n.chain.Fund(addr, amount, body)
}

// parseAddress reads either form of an address.
func parseAddress(text string) (*address.Address, error) {
	if strings.Contains(text, ":") {
		return address.ParseRawAddr(text)
	}
	return address.ParseAddr(text)
}

type timeRequest struct {
	Unix          *int64 `json:"unix"`
	TravelSeconds *int64 `json:"travel_seconds"`
	Frozen        *bool  `json:"frozen"`
}

func (n *Node) doTime(r timeRequest) error {
	if r.Frozen != nil {
		n.chain.FreezeTime(*r.Frozen)
	}
	if r.Unix != nil {
		if err := n.chain.SetTime(time.Unix(*r.Unix, 0)); err != nil {
			return bad("unix: %w", err)
		}
	}
	if r.TravelSeconds != nil {
		d := *r.TravelSeconds
		if d < 0 || d > int64(maxTravel/time.Second) {
			return bad("travel_seconds: %d is not 0 to %d", d, int64(maxTravel/time.Second))
		}
		if err := n.chain.Travel(time.Duration(d) * time.Second); err != nil {
			return bad("travel_seconds: %w", err)
		}
	}
	return nil
}

type nameRequest struct {
	Name string `json:"name"`
}

func (n *Node) doSnapshot(r nameRequest) error {
	_, err := n.chain.Snapshot(r.Name)
	return err
}

func (n *Node) doRestore(r nameRequest) error {
	if n.other != nil {
		return errors.New("the network is split: end that first")
	}
	return n.chain.Restore(r.Name)
}
