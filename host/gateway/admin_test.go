package gateway

import (
	"net/http/httptest"
	"strings"
	"testing"

	"cocoon/host/gateway/upstream"
)

// order asks the operators' listener.
func (w *world) order(method, path, media, body string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	r.Header.Set("Authorization", "Bearer t")
	if media != "" {
		r.Header.Set("Content-Type", media)
	}
	out := httptest.NewRecorder()
	w.server.Admin("t").ServeHTTP(out, r)
	return out
}

func TestActionsArePostsWithTheirParametersInTheBody(t *testing.T) {
	w := start(t, setup{}, newScripted("p1", 5, good))
	id := w.chat("").header.Get("X-Request-Id")
	w.until(func() bool { return w.server.record.active.Load() == 0 })
	const asJSON, asForm = "application/json", "application/x-www-form-urlencoded"
	for name, tc := range map[string]struct {
		method, path, media, body string
		status                    int
		says                      string
	}{
		"a GET":                 {"GET", "/admin/drain", "", "", 405, "POST"},
		"a GET, old name":       {"GET", "/request/topup", "", "", 405, "POST"},
		"top up":                {"POST", "/admin/topup", "", "", 501, "cocoon client topup"},
		"withdraw, old name":    {"POST", "/request/withdraw", "", "", 501, "cocoon client withdraw"},
		"close":                 {"POST", "/admin/close", "", "", 501, "cocoon client close"},
		"charge":                {"POST", "/admin/charge", "", "", 501, "holds no wallet key"},
		"nothing":               {"POST", "/admin/", "", "", 404, "/admin/ACTION"},
		"unknown":               {"POST", "/admin/reboot", "", "", 404, "/admin/ACTION"},
		"an entry, JSON":        {"POST", "/admin/debuglogentry", asJSON, `{"request_id":"` + id + `"}`, 200, `"status":"complete"`},
		"an entry, form":        {"POST", "/request/debuglogentry", asForm, "request_id=" + id, 200, `"completion_tokens":11`},
		"an entry from the URL": {"POST", "/admin/debuglogentry?request_id=" + id, "", "", 404, "x-request-id"},
		"broken JSON":           {"POST", "/admin/debuglogentry", asJSON, `{`, 400, "object of strings"},
		"one twice, JSON":       {"POST", "/admin/debuglogentry", asJSON, `{"request_id":"x","request_id":"` + id + `"}`, 400, "twice"},
		"one twice, form":       {"POST", "/admin/debuglogentry", asForm, "request_id=x&request_id=" + id, 400, "twice"},
		"broken form":           {"POST", "/admin/debuglogentry", asForm, `%zz`, 400, "malformed"},
		"another kind":          {"POST", "/admin/debuglogentry", "text/plain", `x`, 415, "Content-Type"},
		"far too many":          {"POST", "/admin/debuglogentry", asJSON, strings.Repeat(" ", maxOrder+1), 413, "exceeds"},
		"a session made anew":   {"POST", "/admin/reconnect", "", "", 200, `"proxies":1`},
	} {
		t.Run(name, func(t *testing.T) {
			r := w.order(tc.method, tc.path, tc.media, tc.body)
			if r.Code != tc.status || !strings.Contains(r.Body.String(), tc.says) {
				t.Errorf("got %d %s", r.Code, r.Body)
			}
			if tc.status == 405 && r.Header().Get("Allow") != "POST" {
				t.Errorf("Allow %q", r.Header().Get("Allow"))
			}
		})
	}
	if !strings.Contains(w.log.String(), "action=topup") {
		t.Error("an action was not logged")
	}
}

func TestADrainedGatewayTakesNoNewRequests(t *testing.T) {
	release := make(chan struct{})
	w := start(t, setup{}, newScripted("p1", 5, func(p *scripted, q *query) { <-release; good(p, q) }))
	w.until(func() bool { return w.stateOf("p1") == upstream.Ready })
	answered := make(chan reply, 1)
	go func() { answered <- w.chat("") }()
	w.until(func() bool { return w.count("p1") == 1 })
	if r := w.order("POST", "/admin/drain", "", ""); r.Code != 200 || !strings.Contains(r.Body.String(), `"requests_under_way":1`) {
		t.Errorf("got %d %s", r.Code, r.Body)
	}
	if r := w.chat(""); r.status != 503 || r.code(t) != "proxy_disabled" || r.header.Get("Retry-After") != "1" {
		t.Errorf("a new request: %d %s", r.status, r.body)
	}
	if r := w.do("GET", "/readyz", ""); r.status != 503 || !strings.Contains(r.body, `"disabled"`) {
		t.Errorf("/readyz: %d %s", r.status, r.body)
	}
	close(release)
	if r := <-answered; r.status != 200 {
		t.Errorf("the request that was under way: %d %s", r.status, r.body)
	}
	w.order("POST", "/admin/enable", "", "")
	if r := w.chat(""); r.status != 200 {
		t.Errorf("after the drain: %d %s", r.status, r.body)
	}
}
