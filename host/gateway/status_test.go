package gateway

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"mime/multipart"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"cocoon/contracts/api"
	"cocoon/contracts/receipt"
	"cocoon/contracts/wire/tl"
	"cocoon/host/gateway/keys"
)

func book(t *testing.T, doc string, secrets ...string) *keys.Book {
	t.Helper()
	for i, s := range secrets {
		sum := sha256.Sum256([]byte(s))
		doc = strings.ReplaceAll(doc, fmt.Sprintf("HASH%d", i), hex.EncodeToString(sum[:]))
	}
	b, err := keys.Parse([]byte(doc))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestModelsAreMergedAndFoundByNamesWithSlashes(t *testing.T) {
	p1, p2 := newScripted("p1", 5, good), newScripted("p2", 5, good)
	p2.models = append(p2.models, tl.ClientWorkerTypeV2{Name: "idle"}, tl.ClientWorkerTypeV2{Name: "b", Workers: []tl.ClientWorkerInstanceV2{{Coefficient: 3000, MaxActiveRequests: 1}}})
	w := start(t, setup{}, p1, p2)
	w.until(func() bool { return len(w.server.models(true)) == 3 && len(w.server.models(true)[2].Workers) == 2 })
	var list struct {
		Object string  `json:"object"`
		Data   []model `json:"data"`
	}
	r := w.do("GET", "/v1/models", "")
	if err := json.Unmarshal([]byte(r.body), &list); err != nil || len(list.Data) != 2 || list.Object != "list" {
		t.Fatalf("got %s", r.body)
	}
	m := list.Data[1]
	if m.ID != "org/model@c:r" || m.WorkersReady != 2 || m.SlotsFree != 6 || m.CoefficientMin != 1000 || m.ModelRoot != "r" || m.Created == 0 || m.Object != "model" {
		t.Errorf("got %+v", m)
	}
	for _, path := range []string{"/v1/models/org/model@c:r", "/v1/models/org%2Fmodel%40c%3Ar"} {
		if one := w.do("GET", path, ""); one.status != 200 || !strings.Contains(one.body, `"id":"org/model@c:r"`) {
			t.Errorf("%s: %d %s", path, one.status, one.body)
		}
	}
	if all := w.do("GET", "/v1/models?all=1", ""); !strings.Contains(all.body, `"id":"idle"`) {
		t.Errorf("all: %s", all.body)
	}
}

func TestAHostileNameIsTextEverywhere(t *testing.T) {
	const name = `<script>alert(1)</script>"'&`
	p := newScripted("p1", 5, good)
	p.models[0].Name = name
	w := start(t, setup{}, p)
	page := w.do("GET", "/stats", "")
	if strings.Contains(page.body, "<script>alert") || !strings.Contains(page.body, "&lt;script&gt;") {
		t.Error("the page does not escape the name")
	}
	if policy := page.header.Get("Content-Security-Policy"); !strings.Contains(policy, "default-src 'none'") || strings.Contains(policy, "unsafe") {
		t.Errorf("policy %q", policy)
	}
	if strings.Contains(page.body, "http://") || strings.Contains(page.body, "https://") || len(page.body) > 60<<10 {
		t.Errorf("the page has %d bytes or names other addresses", len(page.body))
	}
	if m := w.do("GET", "/metrics", ""); strings.Contains(m.body, "script") {
		t.Error("a metric carries a model's name")
	}
	var list struct{ Data []model }
	if err := json.Unmarshal([]byte(w.do("GET", "/v1/models", "").body), &list); err != nil || list.Data[0].ID != name {
		t.Errorf("models: %v %v", list, err)
	}
}

func TestNoPromptAndNoKeyAppearsAnywhere(t *testing.T) {
	const secret = "sk-canary-5b1e"
	p := newScripted("p1", 5, good)
	w := start(t, setup{keys: book(t, `{"keys":[{"name":"app","sha256":"HASH0"}]}`, secret)}, p)
	auth := []string{"Authorization", "Bearer " + secret}
	if r := w.do("POST", "/v1/chat/completions", chatBody(`,"user":"`+canary+`","`+canary+`":1`), auth...); r.status != 200 {
		t.Fatalf("got %d %s", r.status, r.body)
	}
	w.do("POST", "/v1/chat/completions", `{"model":"`+canary+`","messages":[{"role":"`+canary+`"}]}`, auth...)
	w.do("POST", "/v1/chat/completions", chatBody(`,"max_tokens":"`+canary+`"`), auth...)
	w.do("GET", "/v1/models/"+canary, "", auth...)
	w.until(func() bool { return w.server.record.receiptOK.Read(time.Now())[0] >= 1 })
	for _, path := range []string{"/stats", "/metrics", "/jsonstats", "/readyz", "/healthz"} {
		if body := w.do("GET", path, "").body; strings.Contains(body, canary) || strings.Contains(body, secret) {
			t.Errorf("%s shows it", path)
		}
	}
	if log := w.log.String(); strings.Contains(log, canary) || strings.Contains(log, secret) {
		t.Errorf("the log shows it:\n%s", log)
	}
	for _, q := range p.requests() {
		for _, h := range q.http.Headers {
			if strings.Contains(h.Value, secret) {
				t.Error("the key was passed on")
			}
		}
	}
	files, err := filepath.Glob(filepath.Join(w.dir, "*"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no receipts: %v", err)
	}
	for _, name := range files {
		data, err := os.ReadFile(name)
		if err != nil || bytes.Contains(data, []byte(secret)) {
			t.Errorf("%s: %v, or the key is in it", name, err)
		}
	}
}

func TestKeysAndBudgets(t *testing.T) {
	w := start(t, setup{keys: book(t, `{"keys":[{"name":"a","sha256":"HASH0","requests_per_minute":2},{"name":"b","sha256":"HASH1","tokens_per_day":16}]}`, "ka", "kb")}, newScripted("p1", 5, good))
	post := func(key string) reply {
		return w.do("POST", "/v1/chat/completions", chatBody(""), "Authorization", "Bearer "+key)
	}
	if r := w.chat(""); r.status != 401 || r.code(t) != "invalid_api_key" {
		t.Errorf("no key: %d", r.status)
	}
	if r := post("wrong"); r.status != 401 || strings.Contains(r.body, "wrong") {
		t.Errorf("wrong key: %d %s", r.status, r.body)
	}
	if r := w.do("GET", "/v1/models", ""); r.status != 401 {
		t.Errorf("models without a key: %d", r.status)
	}
	first := post("ka")
	if first.status != 200 || first.header.Get("X-Ratelimit-Limit-Requests") != "2" || first.header.Get("X-Ratelimit-Remaining-Requests") != "1" {
		t.Errorf("first: %d %v", first.status, first.header)
	}
	post("ka")
	if r := post("ka"); r.status != 429 || r.code(t) != "rate_limit_exceeded" || r.header.Get("Retry-After") == "" {
		t.Errorf("third: %d %s", r.status, r.body)
	}
	if r := post("kb"); r.status != 200 || r.header.Get("X-Ratelimit-Limit-Tokens") != "16" {
		t.Errorf("b: %d %v", r.status, r.header)
	}
	w.until(func() bool { r := post("kb"); return r.status == 402 && r.code(t) == "key_budget_exceeded" })

	id := first.header.Get("X-Receipt-Id")
	for key, want := range map[string]int{"": 401, "Bearer kb": 404, "Bearer ka": 200, "Bearer zz": 404} {
		header := []string{"Authorization", key}
		if key == "" {
			header = nil
		}
		if r := w.do("GET", "/v1/aci/receipts/"+id, "", header...); r.status != want {
			t.Errorf("receipt with %q: %d, want %d", key, r.status, want)
		}
	}
}

// TestABudgetIsNotOutrun: requests that come at once share what is left of a key's day.
func TestABudgetIsNotOutrun(t *testing.T) {
	answer := make(chan struct{})
	p := newScripted("p1", 5, func(p *scripted, q *query) {
		<-answer
		good(p, q)
	})
	w := start(t, setup{keys: book(t, `{"keys":[{"name":"a","sha256":"HASH0","tokens_per_day":1000}]}`, "ka")}, p)
	post := func(extra string) reply {
		return w.do("POST", "/v1/chat/completions", chatBody(extra), "Authorization", "Bearer ka")
	}
	under := make(chan reply)
	go func() { under <- post(`,"max_tokens":900`) }()
	w.until(func() bool { return len(p.requests()) == 1 })
	if r := post(`,"max_tokens":100`); r.status != 429 || r.header.Get("Retry-After") != "1" || !strings.Contains(r.body, "set aside") {
		t.Errorf("beyond what is left: %d %s", r.status, r.body)
	}
	go func() { under <- post(`,"max_tokens":10`) }()
	w.until(func() bool { return len(p.requests()) == 2 })
	close(answer)
	for range 2 {
		if r := <-under; r.status != 200 {
			t.Errorf("%d %s", r.status, r.body)
		}
	}
	w.until(func() bool { return post(`,"max_tokens":900`).status == 200 }) // once the receipts are in
}

func TestAttestationSessionsAndAliases(t *testing.T) {
	p := newScripted("p1", 5, good)
	w := start(t, setup{}, p)
	id := w.chat("").header.Get("X-Receipt-Id")
	for _, path := range []string{"/v1/aci/attestation", "/v1/aci/attestation?nonce=" + strings.Repeat("ab", 32), "/v1/attestation/report", "/v1/aci/attestation?proxy=p1"} {
		if r := w.do("GET", path, ""); r.status != 200 || !strings.Contains(r.body, p.keyset().Digest()) {
			t.Errorf("%s: %d %s", path, r.status, r.body)
		}
	}
	if r := w.do("GET", "/v1/aci/attestation?proxy=other", ""); r.status != 503 {
		t.Errorf("another proxy: %d", r.status)
	}
	s, err := receipt.ParseSession(p.session())
	if err != nil {
		t.Fatal(err)
	}
	if r := w.do("GET", "/v1/aci/sessions/"+s.ID, ""); r.status != 200 || r.body != string(p.session()) {
		t.Errorf("session: %d %s", r.status, r.body)
	}
	if r := w.do("GET", "/v1/aci/sessions?model=org/model", ""); !strings.Contains(r.body, s.ID) {
		t.Errorf("sessions: %s", r.body)
	}
	if r := w.do("GET", "/v1/aci/sessions?model=none", ""); strings.Contains(r.body, s.ID) {
		t.Errorf("sessions of another model: %s", r.body)
	}
	r := w.do("GET", "/v1/signature/"+id, "")
	want := strings.TrimPrefix(receipt.SHA256([]byte(chatBody(""))), "sha256:") + ":" + strings.TrimPrefix(receipt.SHA256([]byte(answerBody)), "sha256:")
	if key := hex.EncodeToString(p.key[32:]); !strings.Contains(r.body, want) || !strings.Contains(r.body, `"signing_address":"`+key+`"`) {
		t.Errorf("signature: %s", r.body)
	}
}

func TestJSONStatsHasTheReferenceKeys(t *testing.T) {
	w := start(t, setup{}, newScripted("p1", 5, good))
	w.chat("")
	w.until(func() bool { return w.server.record.success(time.Now())[0] == 1 })
	var doc map[string]any
	if err := json.Unmarshal([]byte(w.do("GET", "/jsonstats", "").body), &doc); err != nil {
		t.Fatal(err)
	}
	for object, names := range map[string][]string{
		"status": {"enabled", "git_commit", "git_commit_data"}, "stats": {"queries", "success", "failed", "bytes_received", "bytes_sent", "time"},
		"localconf": {"root_address", "owner_address", "check_proxy_hash"},
	} {
		o, ok := doc[object].(map[string]any)
		if !ok {
			t.Fatalf("no %s", object)
		}
		for _, n := range names {
			if _, ok := o[n]; !ok {
				t.Errorf("no %s.%s", object, n)
			}
		}
		if object == "stats" {
			if list, ok := o["success"].([]any); !ok || len(list) != 7 || list[0] != 1.0 {
				t.Errorf("success: %v", o["success"])
			}
		}
	}
	for _, list := range []string{"proxy_connections", "proxies"} {
		if l, ok := doc[list].([]any); !ok || len(l) != 1 {
			t.Errorf("%s: %v", list, doc[list])
		}
	}
}

func TestMetricsAreOfClosedSets(t *testing.T) {
	w := start(t, setup{}, newScripted("p1", 5, good))
	w.chat("")
	w.until(func() bool { return w.server.record.success(time.Now())[0] == 1 })
	body := w.do("GET", "/metrics", "").body
	for _, want := range []string{`cocoon_gateway_requests_total{status="complete"} 1`, "cocoon_gateway_proxies_ready 1", `cocoon_gateway_receipts_total{verdict="ok"}`, "# TYPE cocoon_gateway_first_byte_seconds summary"} {
		if !strings.Contains(body, want) {
			t.Errorf("no %s in\n%s", want, body)
		}
	}
}

func TestBrowsersOfOtherPagesAreKeptOut(t *testing.T) {
	w := start(t, setup{origins: []string{"https://app.example"}}, newScripted("p1", 5, good))
	if r := w.do("OPTIONS", "/v1/chat/completions", "", "Origin", "https://app.example"); r.status != 204 || r.header.Get("Access-Control-Allow-Origin") != "https://app.example" {
		t.Errorf("got %d %v", r.status, r.header)
	}
	if r := w.do("OPTIONS", "/v1/chat/completions", "", "Origin", "https://evil.example"); r.status != 204 || r.header.Get("Access-Control-Allow-Origin") != "" {
		t.Errorf("got %d %v", r.status, r.header)
	}
}

func TestTheOperatorsListenerAsksForItsToken(t *testing.T) {
	w := start(t, setup{}, newScripted("p1", 5, good))
	for name, tc := range map[string]struct {
		token, method, path, auth, origin string
		want                              int
	}{
		"perf":         {"t", "GET", "/perf", "Bearer t", "", 200},
		"no token":     {"t", "GET", "/perf", "", "", 401},
		"other token":  {"t", "GET", "/perf", "Bearer x", "", 401},
		"none is set":  {"", "GET", "/perf", "Bearer ", "", 401},
		"from a page":  {"t", "GET", "/perf", "Bearer t", "https://x", 401},
		"other path":   {"t", "GET", "/stats", "Bearer t", "", 404},
		"other method": {"t", "POST", "/perf", "Bearer t", "", 405},
	} {
		t.Run(name, func(t *testing.T) {
			r := httptest.NewRequest(tc.method, tc.path, nil)
			r.Header.Set("Authorization", tc.auth)
			if tc.origin != "" {
				r.Header.Set("Origin", tc.origin)
			}
			out := httptest.NewRecorder()
			w.server.Admin(tc.token).ServeHTTP(out, r)
			if out.Code != tc.want || tc.want == 200 && !strings.Contains(out.Body.String(), "goroutines") {
				t.Errorf("got %d %s", out.Code, out.Body)
			}
		})
	}
}

func TestTranscriptions(t *testing.T) {
	p := newScripted("p1", 5, func(p *scripted, q *query) { q.head(200, "application/json", `{"text":"hi"}`, true); q.receipt(p, nil) })
	w := start(t, setup{}, p)
	for name, tc := range map[string]struct {
		fields map[string]string
		status int
		code   string
	}{
		"good":        {map[string]string{"model": "m", "file": "bytes", "response_format": "json", "temperature": "0.5"}, 200, ""},
		"no model":    {map[string]string{"file": "x"}, 400, "invalid_value"},
		"no file":     {map[string]string{"model": "m"}, 400, "invalid_value"},
		"format":      {map[string]string{"model": "m", "file": "x", "response_format": "srt"}, 400, "unsupported_value"},
		"temperature": {map[string]string{"model": "m", "file": "x", "temperature": "NaN"}, 400, "invalid_value"},
		"unknown":     {map[string]string{"model": "m", "file": "x", "stream": "true"}, 400, "unsupported_parameter"},
		"odd model":   {map[string]string{"model": "a b", "file": "x"}, 400, "invalid_value"},
	} {
		t.Run(name, func(t *testing.T) {
			var form bytes.Buffer
			m := multipart.NewWriter(&form)
			for k, v := range tc.fields {
				if err := m.WriteField(k, v); err != nil {
					t.Fatal(err)
				}
			}
			if err := m.Close(); err != nil {
				t.Fatal(err)
			}
			r := w.do("POST", "/v1/audio/transcriptions", form.String(), "Content-Type", m.FormDataContentType())
			if r.status != tc.status || tc.code != "" && r.code(t) != tc.code {
				t.Fatalf("got %d %s", r.status, r.body)
			}
			if tc.status == 200 {
				q := p.requests()[len(p.requests())-1]
				if !bytes.Equal(q.http.Payload, form.Bytes()) || q.http.Headers[0].Value != m.FormDataContentType() {
					t.Error("the form was changed")
				}
			}
		})
	}
}

// TestPageInABrowser renders the page in headless Chromium; it runs when COCOON_TEST names web. COCOON_SCREENSHOTS keeps
// the pictures.
func TestPageInABrowser(t *testing.T) {
	if !strings.Contains(os.Getenv("COCOON_TEST"), "web") {
		t.Skip("needs a browser: set COCOON_TEST=web")
	}
	chromium, err := exec.LookPath("chromium")
	if err != nil {
		t.Skip("no chromium here")
	}
	p2 := newScripted("proxy-b.example:11001", 4, good)
	p2.models = []tl.ClientWorkerTypeV2{{Name: `<img src=x onerror=alert(1)>`, Workers: []tl.ClientWorkerInstanceV2{{Coefficient: 1500, MaxActiveRequests: 2}}}}
	w := start(t, setup{down: map[string]bool{"proxy-c.example:11001": true}}, newScripted("proxy-a.example:11001", 5, good), p2, newScripted("proxy-c.example:11001", 5, good))
	for i := range 30 {
		extra := ""
		if i%3 == 0 {
			extra = `,"stream":true`
		}
		w.chat(extra)
	}
	w.chat(`,"max_tokens":0`)
	dir := os.Getenv("COCOON_SCREENSHOTS")
	if dir == "" {
		dir = t.TempDir()
	}
	for name, flags := range map[string][]string{
		"light": {"--window-size=1200,1900"}, "dark": {"--window-size=1200,1900", "--blink-settings=preferredColorScheme=0", "--force-dark-mode"},
		"narrow": {"--window-size=500,2600"},
	} {
		file := filepath.Join(dir, name+".png")
		args := append([]string{"--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--screenshot=" + file}, flags...)
		out, err := exec.CommandContext(t.Context(), chromium, append(args, w.url+"/stats")...).CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		if info, err := os.Stat(file); err != nil || info.Size() < 10_000 {
			t.Errorf("%s: no picture: %v", name, err)
		}
	}
}

// TestJSONStatsHasTheKeysOfTheReference is the client's part of the table in protocol.md section 8.2.
func TestJSONStatsHasTheKeysOfTheReference(t *testing.T) {
	w := start(t, setup{}, newScripted("p1", 5, good))
	w.chat("")
	var doc struct {
		Status, Wallet, Stats, Localconf map[string]any
		Connections                      []map[string]any `json:"proxy_connections"`
		Proxies                          []map[string]any
	}
	if err := json.Unmarshal([]byte(w.do("GET", "/jsonstats", "").body), &doc); err != nil || len(doc.Connections) != 1 || len(doc.Proxies) != 1 {
		t.Fatalf("%+v, %v", doc, err)
	}
	for where, want := range map[string]struct {
		in   map[string]any
		keys string
	}{
		"status":              {doc.Status, "wallet_balance ton_last_synced_at enabled git_commit git_commit_data"},
		"stats":               {doc.Stats, "queries success failed bytes_received bytes_sent time"},
		"wallet":              {doc.Wallet, "address balance seqno pending_transactions_cnt active_transactions_cnt"},
		"localconf":           {doc.Localconf, "root_address owner_address check_proxy_hash"},
		"proxy_connections[]": {doc.Connections[0], "address is_ready proxy_sc_address"},
		"proxies[]": {doc.Proxies[0], "proxy_sc_address proxy_public_key sc_address state tokens_used_proxy_committed_to_blockchain tokens_used_proxy_committed_to_db " +
			"tokens_used_proxy_max tokens_charged tokens_payed"}, //nolint:misspell // the reference's key
	} {
		for key := range strings.FieldsSeq(want.keys) {
			if _, ok := want.in[key]; !ok {
				t.Errorf("%s has no %s", where, key)
			}
		}
	}
	for name, v := range doc.Stats {
		if list, ok := v.([]any); !ok || len(list) != 7 {
			t.Errorf("stats.%s is %v", name, v)
		}
	}
}

// TestThePageRemembersWhatHappened: charts, numbers and rows agree, and the verdict keeps its beginning.
func TestThePageRemembersWhatHappened(t *testing.T) {
	w := start(t, setup{}, newScripted("p1", 5, good))
	if r := w.chat(""); r.status != 200 {
		t.Fatalf("status %d", r.status)
	}
	if r := w.do("POST", "/v1/chat/completions", chatBody(`,"max_tokens":-1`)); r.status != 400 {
		t.Fatalf("status %d", r.status)
	}
	w.until(func() bool { return w.server.record.receiptOK.Read(time.Now())[0] == 1 })
	w.server.verdict()
	first := w.server.verdict()
	p := w.server.page()
	if p.Verdict.Word != "OK" || p.Verdict.Since != first.Since || len(p.Charts) != 6 || len(p.Numbers) != 8 {
		t.Errorf("%+v, %d charts, %d numbers", p.Verdict, len(p.Charts), len(p.Numbers))
	}
	if rows := p.Tables[2].Rows; len(rows) != 1 || rows[0][2].Text != "complete" || rows[0][10].Text != "ok" {
		t.Errorf("rows %+v", rows)
	}
	day := w.do("GET", "/stats?span=24h", "").body
	if !strings.Contains(day, "24 h ago") || strings.Count(day, "<figure") != 6 {
		t.Error("the day's charts are missing")
	}
	text := w.do("GET", "/metrics", "").body
	for _, want := range []string{`cocoon_gateway_requests_total{status="complete"} 1`, `cocoon_gateway_requests_total{status="refused"} 1`, "cocoon_gateway_request_seconds_count 1"} {
		if !strings.Contains(text, want+"\n") {
			t.Errorf("no %s in\n%s", want, text)
		}
	}
}

func TestWhoseMistakeAnErrorIs(t *testing.T) {
	for name, tc := range map[string]struct {
		status int
		body   string
		ended  string
		code   api.Code
	}{
		"context":        {400, `{"error":{"message":"x","type":"invalid_request_error","param":null,"code":"context_length_exceeded"}}`, statusRefused, api.ContextLength},
		"other status":   {400, `{"error":{"code":"engine_error"}}`, statusRefused, api.InvalidValue},
		"unknown code":   {400, `{"error":{"code":"<script>"}}`, statusRefused, api.InvalidValue},
		"no JSON":        {404, `gone`, statusRefused, api.InvalidValue},
		"engine":         {502, `{"error":{"code":"engine_error"}}`, statusFailed, api.EngineError},
		"number":         {500, `{"error":{"code":500}}`, statusFailed, api.EngineError},
		"overloaded":     {429, `{"error":{"code":"rate_limit_exceeded"}}`, statusFailed, api.RateLimitExceeded},
		"code of a peer": {500, `{"error":{"code":"anything goes"}}`, statusFailed, api.EngineError},
	} {
		if ended, code := blameOf(tc.status, []byte(tc.body)); ended != tc.ended || code != tc.code {
			t.Errorf("%s: %s, %s", name, ended, code)
		}
	}
	for code, want := range map[api.Code]string{
		api.ModelNotFound: statusRefused, api.PriceLimit: statusRefused, api.InsufficientQuota: statusRefused, api.SessionNotAccepted: statusRefused,
		api.UnsupportedParameter: statusRefused, api.RateLimitExceeded: statusFailed, api.NoWorkers: statusFailed, api.WorkerLost: statusFailed,
		api.ReceiptInvalid: statusFailed, api.Timeout: statusDeadline, api.Cancelled: statusCancelled,
	} {
		if got := statusOf(&api.Error{Code: code}); got != want {
			t.Errorf("%s: %s, want %s", code, got, want)
		}
	}
}

// TestAnUnknownModelIsNoFailure: what an app misspells is not shown as somebody's failure.
func TestAnUnknownModelIsNoFailure(t *testing.T) {
	w := start(t, setup{}, newScripted("p1", 5, func(_ *scripted, q *query) { q.fail(621, "unknown model x") }))
	if r := w.chat(""); r.status != 404 || r.code(t) != "model_not_found" {
		t.Fatalf("%d %s", r.status, r.body)
	}
	for _, want := range []string{`requests_total{status="refused"} 1`, `requests_total{status="failed"} 0`} {
		w.until(func() bool { return strings.Contains(w.do("GET", "/metrics", "").body, want) })
	}
}
