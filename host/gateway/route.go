package gateway

import (
	"errors"
	"log/slog"
	"net/http"
	"net/url"
	"runtime/debug"
	"slices"
	"strings"

	"cocoon/contracts/api"
)

// route is one path: its method and who answers. Paths with keyed set ask for an API key.
type route struct {
	method string
	keyed  bool
	serve  func(w http.ResponseWriter, r *http.Request, rest string)
}

// routes are the exact paths. A path that ends in "/" here takes the rest of the URL's path as its argument.
func (s *Server) routes() map[string]route {
	plain := func(f http.HandlerFunc) func(http.ResponseWriter, *http.Request, string) {
		return func(w http.ResponseWriter, r *http.Request, _ string) { f(w, r) }
	}
	out := map[string]route{
		"/v1/audio/transcriptions": {http.MethodPost, false, plain(s.transcribe)},
		"/v1/models":               {http.MethodGet, true, plain(s.listModels)},
		"/v1/models/":              {http.MethodGet, true, s.showModel},
		"/v1/aci/attestation":      {http.MethodGet, true, plain(s.attestation)},
		"/v1/aci/receipts/":        {http.MethodGet, false, s.showReceipt},
		"/v1/aci/sessions":         {http.MethodGet, true, plain(s.listSessions)},
		"/v1/aci/sessions/":        {http.MethodGet, true, s.showSession},
		"/v1/receipts/":            {http.MethodGet, false, s.showReceipt}, // a short name
		"/v1/attestation/report":   {http.MethodGet, true, plain(s.attestation)},
		"/v1/signature/":           {http.MethodGet, false, s.showSignature},
		"/":                        {http.MethodGet, false, plain(s.home)},
	}
	for path, show := range s.surface.Paths() {
		out[path] = route{http.MethodGet, false, plain(show)}
	}
	for path, ep := range api.Paths() {
		out[path] = route{http.MethodPost, false, func(w http.ResponseWriter, r *http.Request, _ string) { s.infer(w, r, path, ep) }}
	}
	return out
}

// Handler is the HTTP surface.
func (s *Server) Handler() http.Handler {
	routes := s.routes()
	nosniff := []string{"nosniff"}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer s.confess()
		h := w.Header()
		h["X-Content-Type-Options"] = nosniff // which nobody appends to
		s.allowOrigin(h, r)
		if r.Method == http.MethodOptions {
			h.Set("Allow", "GET, POST, OPTIONS")
			w.WriteHeader(http.StatusNoContent)
			return
		}
		found, rest, ok := match(routes, r.URL)
		switch {
		case !ok:
			refuse(w, &api.Error{Code: api.UnknownURL, Message: "there is nothing at this path; there are /v1/models, /v1/chat/completions, /v1/completions, /v1/responses, /v1/embeddings and /v1/audio/transcriptions"})
			return
		case r.Method != found.method && (r.Method != http.MethodHead || found.method != http.MethodGet):
			h.Set("Allow", found.method+", OPTIONS")
			refuse(w, &api.Error{Code: api.MethodNotAllowed, Message: "this path takes " + found.method})
			return
		}
		if found.keyed {
			if _, err := s.cfg.Keys.Identify(r.Header.Get("Authorization")); err != nil {
				refuse(w, err)
				return
			}
		}
		found.serve(w, r, rest)
	})
}

// confess says in the log what broke a request by panicking: the server itself would end the connection and say it where
// nobody looks. What a panic says is about the program, never about a request.
func (s *Server) confess() {
	v := recover()
	if v == nil {
		return
	}
	if v != http.ErrAbortHandler { //nolint:errorlint // the server compares it, too
		s.cfg.Log.Error("A request broke the gateway, which is a fault of the program", slog.Any("err", v), slog.String("stack", string(debug.Stack())))
	}
	panic(http.ErrAbortHandler) //nolint:forbidigo // the only way to end an HTTP/1.1 answer as broken (pitfall 13)
}

// match finds the route of a URL. Model names contain slashes, so the rest of a path is one argument, decoded once.
func match(routes map[string]route, u *url.URL) (found route, rest string, ok bool) {
	if found, ok = routes[u.Path]; ok && !strings.HasSuffix(u.Path, "/") || u.Path == "/" {
		return found, "", ok
	}
	escaped := u.EscapedPath()
	for prefix, r := range routes {
		if after, cut := strings.CutPrefix(escaped, prefix); cut && prefix != "/" && strings.HasSuffix(prefix, "/") && after != "" {
			rest, err := url.PathUnescape(after)
			return r, rest, err == nil
		}
	}
	return route{}, "", false
}

// allowOrigin lets the pages of the list call from browsers (inference.md section 2).
func (s *Server) allowOrigin(h http.Header, r *http.Request) {
	if len(s.cfg.Origins) == 0 {
		return
	}
	h.Add("Vary", "Origin")
	origin := r.Header.Get("Origin")
	if origin == "" || !slices.Contains(s.cfg.Origins, origin) {
		return
	}
	h.Set("Access-Control-Allow-Origin", origin)
	h.Set("Access-Control-Expose-Headers", "x-request-id, X-Receipt-Id, Retry-After, retry-after-ms, x-should-retry, "+
		"x-ratelimit-limit-requests, x-ratelimit-remaining-requests, x-ratelimit-reset-requests, "+
		"x-ratelimit-limit-tokens, x-ratelimit-remaining-tokens, x-ratelimit-reset-tokens, X-ACI-Version, X-ACI-Keyset-Digest, "+
		"X-Cocoon-Cost-Nano, X-Cocoon-Ignored-Params, X-Cocoon-Stream, X-Cocoon-Receipt-Verdict, X-Cocoon-Warning")
	if r.Method == http.MethodOptions {
		h.Set("Access-Control-Allow-Methods", "GET, POST")
		// The last one stands for all others, as far as a browser knows it: SDKs grow, and no header of an app is passed on.
		h.Set("Access-Control-Allow-Headers", "Authorization, Content-Type, Idempotency-Key, OpenAI-Organization, OpenAI-Project, User-Agent, X-Requested-With, "+
			"X-Stainless-Arch, X-Stainless-Helper-Method, X-Stainless-Lang, X-Stainless-Os, X-Stainless-Package-Version, X-Stainless-Retry-Count, "+
			"X-Stainless-Runtime, X-Stainless-Runtime-Version, X-Stainless-Timeout, *")
		h.Set("Access-Control-Max-Age", "600")
	}
}

// refuse answers with an error before anything of an answer was sent. Every error has an id (inference.md section 5.1).
func refuse(w http.ResponseWriter, err error) {
	e, ok := errors.AsType[*api.Error](err)
	if !ok {
		e = &api.Error{Code: "internal_error", Message: "the gateway failed; its log says how"}
	}
	if e.RequestID == "" {
		_, n := newName()
		e.RequestID = n.request()
	}
	e.Write(w)
}
