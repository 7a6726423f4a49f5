package proxy

import (
	"bytes"
	"encoding/json"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"

	"cocoon/contracts/api/stats"
	"cocoon/contracts/wire/tl"
)

// TestPagesShowNamesOfPeersAsText is row 14 of protocol.md section 12: a worker's model name reaches an operator's
// browser.
func TestPagesShowNamesOfPeersAsText(t *testing.T) {
	const hostile = `demo/model<script>alert("x")</script>`
	inProxy(t, func(b *bench) {
		b.worker(5, serveWhole, func(p *tl.WorkerParams) { p.Model = hostile })
		b.worker(5, serveWhole)
		c := b.client(5)
		c.send(run(1, chat))
		c.collect(1)
		synctest.Wait()
		pages := stats.NewRenderer()
		w := httptest.NewRecorder()
		if err := pages.Serve(w, httptest.NewRequestWithContext(t.Context(), "GET", "/stats", nil), b.p.Page()); err != nil {
			t.Fatal(err)
		}
		html := w.Body.String()
		if strings.Contains(html, "<script>alert") || !strings.Contains(html, "demo/model&lt;script&gt;") || strings.Contains(html, canary) {
			t.Error("the model's name is markup, or missing")
		}
		raw, err := json.Marshal(b.p.JSONStats())
		if err != nil || bytes.Contains(raw, []byte("<script")) || bytes.Contains(raw, []byte(canary)) {
			t.Errorf("%v in %s", err, raw)
		}
		var doc struct {
			Stats       map[string][]float64
			Workers     []map[string]any
			Connections []map[string]any `json:"worker_connections"`
			Clients     []map[string]any
		}
		if err := json.Unmarshal(raw, &doc); err != nil {
			t.Fatal(err)
		}
		if doc.Stats["success"][0] != 1 || doc.Stats["queries"][0] != 1 || doc.Stats["failed"][0] != 0 || doc.Stats["total_adjusted_tokens_used"][0] != 74 {
			t.Errorf("stats %v", doc.Stats)
		}
		if len(doc.Workers) != 1 || len(doc.Connections) != 2 || len(doc.Clients) != 1 || doc.Workers[0]["earned_tokens"] != 74.0 || doc.Clients[0]["used_tokens"] != 74.0 {
			t.Errorf("%v, %v, %v", doc.Workers, doc.Connections, doc.Clients)
		}
		var page bytes.Buffer
		b.p.WriteMetrics(&page)
		for _, line := range []string{"cocoon_proxy_workers 2", `cocoon_proxy_requests_total{status="complete"} 1`, `cocoon_proxy_selections_total{reason="only_one"} 1`} {
			if !strings.Contains(page.String(), line+"\n") {
				t.Errorf("metrics lack %s:\n%s", line, page.String())
			}
		}
		if strings.Contains(page.String(), "demo/model") {
			t.Error("a label comes from a peer")
		}
	})
}
