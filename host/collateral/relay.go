package collateral

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"cocoon/measure/dcap"
	"cocoon/measure/ratls/pcs"
	"cocoon/measure/tdx"
)

const (
	// answerLimit is how long a guest waits at most for collateral that the relay has to fetch first.
	answerLimit = 60 * time.Second
	// maxQuery bounds a query; the longest legal one has 50 bytes.
	maxQuery = 512
	// retrySeconds is what a guest is told to wait when nothing can be had now.
	retrySeconds = "10"
)

// DefaultSeed is an FMSPC that Intel has TCB info for (Sapphire Rapids). A part that belongs to no FMSPC is only passed
// on together with a bundle that verified, so a relay that knows no platform yet fetches this one's.
func DefaultSeed() dcap.FMSPC { return dcap.FMSPC{0x00, 0x80, 0x6f, 0x05, 0x00, 0x00} }

// RelayConfig is what a relay needs.
type RelayConfig struct {
	// Cache supplies the bundles.
	Cache *pcs.Cache
	// Now is the clock for the status page.
	Now func() time.Time
	// Seed is the platform to begin with; zero means DefaultSeed.
	Seed dcap.FMSPC
	// Log gets a line per request that could not be answered; nil is silent.
	Log *slog.Logger
}

// Relay is an http.Handler with the paths of Intel's caching service. It answers with signed originals only: parts of
// bundles that verified. Parameters that choose among evaluations (update) have no effect; a guest gets what is held.
type Relay struct {
	cfg RelayConfig
	mux *http.ServeMux
}

// NewRelay makes the handler.
func NewRelay(cfg RelayConfig) (*Relay, error) {
	if cfg.Cache == nil || cfg.Now == nil {
		return nil, errors.New("making collateral relay: it needs a cache and a clock")
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Seed == (dcap.FMSPC{}) {
		cfg.Seed = DefaultSeed()
	}
	r := &Relay{cfg: cfg, mux: http.NewServeMux()}
	for _, route := range []struct {
		path   string
		answer func(*http.Request) (*part, error)
	}{
		{"/tdx/certification/v4/tcb", r.tcb(tdx.TDX)},
		{"/sgx/certification/v4/tcb", r.tcb(tdx.SGX)},
		{"/tdx/certification/v4/qe/identity", r.identity(tdx.TDX)},
		{"/sgx/certification/v4/qe/identity", r.identity(tdx.SGX)},
		{"/sgx/certification/v4/pckcrl", r.pckCRL},
		{"/sgx/certification/v4/rootcacrl", r.rootCRL},
		{"/rootcacrl", r.rootCRL},
		{"/status", r.status},
	} {
		r.mux.HandleFunc("GET "+route.path, r.serve(route.answer))
	}
	return r, nil
}

// ServeHTTP implements http.Handler.
func (r *Relay) ServeHTTP(w http.ResponseWriter, req *http.Request) { r.mux.ServeHTTP(w, req) }

// badRequestError is what the asking side did wrong.
type badRequestError struct{ error }

func (r *Relay) serve(answer func(*http.Request) (*part, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, req *http.Request) {
		ctx, cancel := context.WithTimeout(req.Context(), answerLimit)
		defer cancel()
		var p *part
		err := error(badRequestError{fmt.Errorf("the query has more than %d bytes", maxQuery)})
		if len(req.URL.RawQuery) <= maxQuery {
			p, err = answer(req.WithContext(ctx))
		}
		if err != nil {
			r.refuse(w, req, err)
			return
		}
		if p.header != "" {
			w.Header()[p.header] = []string{p.chain} // in Intel's spelling: its libraries look for it letter by letter
		}
		w.Header().Set("Content-Type", p.contentType)
		w.Header().Set("Content-Length", strconv.Itoa(len(p.body)))
		_, _ = w.Write(p.body)
	}
}

// refuse maps an error to the status that PCCS clients know: 400, 404, 502, and 503 for now.
func (r *Relay) refuse(w http.ResponseWriter, req *http.Request, err error) {
	code := http.StatusBadGateway
	switch {
	case isBadRequest(err):
		code = http.StatusBadRequest
	case errors.Is(err, pcs.ErrNotFound):
		code = http.StatusNotFound
	case errors.Is(err, pcs.ErrBusy), errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		code = http.StatusServiceUnavailable
		w.Header().Set("Retry-After", retrySeconds)
	}
	r.cfg.Log.Warn("Collateral was not relayed", slog.String("path", req.URL.Path), slog.Int("code", code), slog.Any("err", err))
	w.Header().Set("X-Content-Type-Options", "nosniff")
	http.Error(w, err.Error(), code)
}

func isBadRequest(err error) bool {
	_, ok := errors.AsType[badRequestError](err)
	return ok
}

// tcb answers for one FMSPC. TCB info does not depend on the CA, so any bundle of the FMSPC has it.
func (r *Relay) tcb(tee tdx.TEEType) func(*http.Request) (*part, error) {
	return func(req *http.Request) (*part, error) {
		fmspc, err := dcap.ParseFMSPC(req.URL.Query().Get("fmspc"))
		if err != nil {
			return nil, badRequestError{fmt.Errorf("parameter fmspc: %w", err)}
		}
		b, err := r.pick(req.Context(), dcap.TCBInfo, under(tee, fmspc), func(p dcap.Platform) bool { return p.TEE == tee && p.FMSPC == fmspc })
		if err != nil {
			return nil, err
		}
		return tcbPart(b), checkNumber(req.URL.Query(), b.TCBInfo)
	}
}

func (r *Relay) identity(tee tdx.TEEType) func(*http.Request) (*part, error) {
	return func(req *http.Request) (*part, error) {
		want := under(tee, r.seed(dcap.NoCA))
		b, err := r.pick(req.Context(), dcap.QEIdentity, want, func(p dcap.Platform) bool { return p.TEE == tee })
		if err != nil {
			return nil, err
		}
		return identityPart(b), checkNumber(req.URL.Query(), b.QEIdentity)
	}
}

func (r *Relay) pckCRL(req *http.Request) (*part, error) {
	q := req.URL.Query()
	ca := dcap.NoCA
	for _, known := range []dcap.CA{dcap.PlatformCA, dcap.ProcessorCA} {
		if q.Get("ca") == known.String() {
			ca = known
		}
	}
	if ca == dcap.NoCA {
		return nil, badRequestError{fmt.Errorf("parameter ca is %q, want platform or processor", q.Get("ca"))}
	}
	want := dcap.Platform{TEE: tdx.SGX, FMSPC: r.seed(ca), CA: ca}
	if ca == dcap.PlatformCA {
		want.TEE = tdx.TDX
	}
	b, err := r.pick(req.Context(), dcap.PCKCRL, []dcap.Platform{want}, func(p dcap.Platform) bool { return p.CA == ca })
	if err != nil {
		return nil, err
	}
	return pckCRLPart(b, q.Get("encoding"))
}

func (r *Relay) rootCRL(req *http.Request) (*part, error) {
	b, err := r.pick(req.Context(), dcap.RootCRL, under(tdx.TDX, r.seed(dcap.PlatformCA)), func(dcap.Platform) bool { return true })
	if err != nil {
		return nil, err
	}
	return &part{contentType: textType, body: []byte(b.RootCACRL)}, nil
}

// checkNumber refuses a request for one TCB evaluation in particular, unless it is the one that is held.
func checkNumber(q url.Values, text string) error {
	asked := q.Get("tcbEvaluationDataNumber")
	if asked == "" {
		return nil
	}
	var held struct {
		Number int `json:"tcbEvaluationDataNumber"`
	}
	if err := json.Unmarshal([]byte(text), &held); err != nil {
		return fmt.Errorf("reading the evaluation number that is held: %w", err)
	}
	if strconv.Itoa(held.Number) != asked {
		return fmt.Errorf("%w: TCB evaluation %q is not held, %d is", pcs.ErrNotFound, asked, held.Number)
	}
	return nil
}
