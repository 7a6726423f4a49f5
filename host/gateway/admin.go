package gateway

import (
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
	"net/http"

	"cocoon/contracts/api"
	"cocoon/contracts/api/stats"
)

// Admin is the listener for operators: /perf, which says what the process itself is doing. It asks for a token and
// refuses requests that a web page made (protocol.md section 8.1).
func (s *Server) Admin(token string) http.Handler {
	want := sha256.Sum256([]byte("Bearer " + token))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got := sha256.Sum256([]byte(r.Header.Get("Authorization")))
		switch {
		case token == "" || subtle.ConstantTimeCompare(got[:], want[:]) != 1 || r.Header.Get("Origin") != "":
			refuse(w, &api.Error{Code: api.Unauthorized, Message: "send the token of this gateway's operator: Authorization: Bearer TOKEN"})
			return
		case r.URL.Path != "/perf":
			refuse(w, &api.Error{Code: api.UnknownURL, Message: "there is nothing at this path; there is /perf"})
			return
		case r.Method != http.MethodGet:
			w.Header().Set("Allow", http.MethodGet)
			refuse(w, &api.Error{Code: api.MethodNotAllowed, Message: "this path takes GET"})
			return
		}
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		_, _ = fmt.Fprintf(w, "%-42s %d\n", "requests under way", s.record.active.Load())
		stats.WritePerf(w)
	})
}
