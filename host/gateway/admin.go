package gateway

import (
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
	"io"
	"log/slog"
	"mime"
	"net/http"
	"net/url"
	"strings"
	"time"

	"cocoon/contracts/api"
	"cocoon/contracts/api/stats"
	"cocoon/measure/strictjson"
)

// maxOrder bounds the parameters of an operator's action.
const maxOrder = 16 << 10

// orders are an action's parameters.
type orders map[string]string

// action does what an operator wants; what it returns is the answer.
type action func(s *Server, o orders) (any, error)

// actions are those of a client (protocol.md section 8.1). Those that send messages to contracts need the wallet's key,
// which a gateway does not hold.
func actions() map[string]action {
	wallet := func(verb string) action {
		return func(*Server, orders) (any, error) {
			return nil, &api.Error{
				Code:    api.NotOffered,
				Message: "this gateway holds no wallet key, so it sends nothing to contracts; run: cocoon client " + verb,
			}
		}
	}
	return map[string]action{
		"drain":   func(s *Server, _ orders) (any, error) { return s.setDraining(true), nil },
		"enable":  func(s *Server, _ orders) (any, error) { return s.setDraining(false), nil },
		"disable": func(s *Server, _ orders) (any, error) { return s.setDraining(true), nil },
		"reconnect": func(s *Server, _ orders) (any, error) {
			s.cfg.Pool.Renew()
			return struct {
				Proxies int `json:"proxies"`
			}{len(s.cfg.Pool.Links())}, nil
		},
		"debuglogentry": (*Server).logEntry,
		"topup":         wallet("topup"),
		"withdraw":      wallet("withdraw"),
		"close":         wallet("close"),
		"charge":        wallet("charge"),
	}
}

// Admin is the listener for operators (protocol.md section 8.1): actions below /admin/, and below /request/ as the reference
// names them, by POST alone; and /perf, which says what the process itself is doing. It asks for a token in a header,
// refuses requests that a web page made, and logs every action with its outcome.
func (s *Server) Admin(token string) http.Handler {
	want := sha256.Sum256([]byte("Bearer " + token))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got := sha256.Sum256([]byte(r.Header.Get("Authorization")))
		if token == "" || subtle.ConstantTimeCompare(got[:], want[:]) != 1 || r.Header.Get("Origin") != "" {
			refuse(w, &api.Error{Code: api.Unauthorized, Message: "send the token of this gateway's operator: Authorization: Bearer TOKEN"})
			return
		}
		if r.URL.Path == "/perf" {
			s.perf(w, r)
			return
		}
		name, ok := strings.CutPrefix(r.URL.Path, "/admin/")
		if !ok {
			name, ok = strings.CutPrefix(r.URL.Path, "/request/")
		}
		do := actions()[name]
		switch {
		case !ok || do == nil:
			refuse(w, &api.Error{Code: api.UnknownURL, Message: "there is nothing at this path; there are /perf and /admin/ACTION"})
		case r.Method != http.MethodPost:
			w.Header().Set("Allow", http.MethodPost)
			refuse(w, &api.Error{Code: api.MethodNotAllowed, Message: "this path takes POST"})
		default:
			s.act(w, r, name, do)
		}
	})
}

func (s *Server) perf(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet {
		w.Header().Set("Allow", http.MethodGet)
		refuse(w, &api.Error{Code: api.MethodNotAllowed, Message: "this path takes GET"})
		return
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, _ = fmt.Fprintf(w, "%-42s %d\n", "requests under way", s.record.active.Load())
	stats.WritePerf(w)
}

// act does one action.
func (s *Server) act(w http.ResponseWriter, r *http.Request, name string, do action) {
	o, err := readOrders(w, r)
	var out any
	if err == nil {
		out, err = do(s, o)
	}
	s.cfg.Log.Info("Operator asked", slog.String("action", name), slog.Any("err", err))
	if err != nil {
		refuse(w, err)
		return
	}
	answer(w, out)
}

// readOrders reads parameters from a body, as JSON or as a form. They are never read from the URL, which logs keep.
func readOrders(w http.ResponseWriter, r *http.Request) (orders, error) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxOrder))
	if err != nil {
		return nil, &api.Error{Code: api.RequestTooLarge, Message: fmt.Sprintf("the body exceeds %d bytes", maxOrder)}
	}
	if len(body) == 0 {
		return orders{}, nil
	}
	kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type")) // what is none is refused below
	switch kind {
	case "application/json":
		o := orders{}
		if err := strictjson.Decode(body, &o); err != nil {
			return nil, &api.Error{Code: api.InvalidJSON, Message: "the body must be an object of strings, none of them twice"}
		}
		return o, nil
	case "application/x-www-form-urlencoded":
		values, err := url.ParseQuery(string(body))
		if err != nil {
			return nil, &api.Error{Code: api.InvalidValue, Message: "the form is malformed"}
		}
		o := orders{}
		for k, v := range values {
			if len(v) != 1 {
				return nil, &api.Error{Code: api.InvalidValue, Message: "a field of the form stands twice"}
			}
			o[k] = v[0]
		}
		return o, nil
	default:
		return nil, &api.Error{Code: api.UnsupportedMedia, Message: "the Content-Type must be application/json or application/x-www-form-urlencoded"}
	}
}

// drained says whether new requests are taken.
type drained struct {
	Draining bool  `json:"draining"`
	Active   int64 `json:"requests_under_way"`
}

// setDraining stops or starts taking new requests; those under way go on.
func (s *Server) setDraining(on bool) drained {
	s.draining.Store(on)
	return drained{on, s.record.active.Load()}
}

// errDraining refuses a new request.
func (s *Server) errDraining() error {
	if !s.draining.Load() {
		return nil
	}
	return &api.Error{Code: api.ProxyDisabled, Message: "this gateway takes no new requests now, because its operator drains it; ask another one", RetryAfter: time.Second}
}

// logEntry is what is known of one of the last requests: counts and times, never content.
func (s *Server) logEntry(o orders) (any, error) {
	id := o["request_id"]
	rows, _ := s.record.recent()
	for _, r := range rows {
		if r.id == id && id != "" {
			return struct {
				ID         string `json:"request_id"`
				Model      string `json:"model"`
				Status     string `json:"status"`
				Code       string `json:"code,omitempty"`
				HTTP       int    `json:"http_status"`
				At         int64  `json:"ended_at"`
				FirstMS    int64  `json:"first_byte_ms"`
				TotalMS    int64  `json:"total_ms"`
				Prompt     int64  `json:"prompt_tokens"`
				Cached     int64  `json:"cached_tokens"`
				Completion int64  `json:"completion_tokens"`
				Reasoning  int64  `json:"reasoning_tokens"`
				Cost       uint64 `json:"cost_nano,string"`
			}{
				r.id, r.model, r.status, r.code, r.http, r.at.Unix(), r.first.Milliseconds(), r.total.Milliseconds(),
				r.use.prompt, r.use.cached, r.use.completion, r.use.reasoning, r.use.cost,
			}, nil
		}
	}
	return nil, notFound("no request among the last ones has this request_id: it is x-request-id of an answer")
}
