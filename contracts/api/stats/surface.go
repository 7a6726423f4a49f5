package stats

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
)

// Reason is why a role cannot serve, or serves less than it should. Codes are stable (protocol.md section 8.1).
type Reason struct {
	Code string `json:"code"`
	// Proxy is the one that it is about, if it is about one.
	Proxy string `json:"proxy,omitempty"`
	Text  string `json:"text"`
}

// Views are what a role shows; all are needed.
type Views struct {
	// Page is /stats, JSON the document of /jsonstats.
	Page func() Page
	JSON func() any
	// Metrics writes the text of /metrics.
	Metrics func(w io.Writer)
	Ready   func() Readiness
}

// Readiness says whether a request that came now would be served, and what is wrong.
type Readiness struct {
	Ready   bool     `json:"ready"`
	Reasons []Reason `json:"reasons"`
	// Chain is how old the role's view of the chain is; nil where it has none.
	Chain any `json:"chain,omitempty"`
}

// Surface serves views over HTTP. It only reads, and is safe for concurrent use.
type Surface struct {
	views Views
	pages *Renderer
	log   *slog.Logger
}

// NewSurface makes one.
func NewSurface(v Views, log *slog.Logger) (*Surface, error) {
	if v.Page == nil || v.JSON == nil || v.Metrics == nil || v.Ready == nil {
		return nil, fmt.Errorf("making status pages: a view is missing")
	}
	return &Surface{v, NewRenderer(), log}, nil
}

// Paths are what there is to read, by exact path.
func (s *Surface) Paths() map[string]http.HandlerFunc {
	return map[string]http.HandlerFunc{
		"/stats": s.stats, "/jsonstats": s.jsonstats, "/metrics": s.metrics, "/healthz": s.healthz, "/readyz": s.readyz,
	}
}

// Handler serves the paths, and sends whoever asks for the root to the page.
func (s *Surface) Handler() http.Handler {
	paths := s.Paths()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		serve, ok := paths[r.URL.Path]
		switch {
		case r.Method != http.MethodGet && r.Method != http.MethodHead:
			w.Header().Set("Allow", "GET, HEAD")
			s.answer(w, http.StatusMethodNotAllowed, map[string]string{"error": "this port only shows; orders go to the operators' port"})
		case ok:
			serve(w, r)
		case r.URL.Path == "/":
			http.Redirect(w, r, "/stats", http.StatusSeeOther)
		default:
			s.answer(w, http.StatusNotFound, map[string]string{"error": "there is nothing at this path; there are /stats, /jsonstats, /metrics, /healthz, /readyz"})
		}
	})
}

func (s *Surface) stats(w http.ResponseWriter, r *http.Request) {
	if err := s.pages.Serve(w, r, s.views.Page()); err != nil {
		s.log.Debug("Page was not sent", slog.Any("err", err))
	}
}

func (s *Surface) jsonstats(w http.ResponseWriter, _ *http.Request) {
	s.answer(w, http.StatusOK, s.views.JSON())
}

func (s *Surface) metrics(w http.ResponseWriter, _ *http.Request) {
	var text bytes.Buffer
	s.views.Metrics(&text)
	w.Header().Set("Content-Type", ContentType)
	w.Header().Set("X-Content-Type-Options", "nosniff")
	_, _ = w.Write(text.Bytes()) // the caller is gone when this does not succeed
}

// healthz says that the process is alive.
func (s *Surface) healthz(w http.ResponseWriter, _ *http.Request) {
	s.answer(w, http.StatusOK, map[string]string{"status": "ok"})
}

// readyz says whether it can serve now.
func (s *Surface) readyz(w http.ResponseWriter, _ *http.Request) {
	now, status := s.views.Ready(), http.StatusOK
	if !now.Ready {
		status = http.StatusServiceUnavailable
	}
	if now.Reasons == nil {
		now.Reasons = []Reason{}
	}
	s.answer(w, status, now)
}

func (s *Surface) answer(w http.ResponseWriter, status int, doc any) {
	raw, err := json.Marshal(doc)
	if err != nil {
		s.log.Error("Status cannot be written", slog.Any("err", err))
		status, raw = http.StatusInternalServerError, []byte(`{"error":"the status cannot be written; the log says why"}`)
	}
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = w.Write(raw) // nobody is left when it does not succeed
}
