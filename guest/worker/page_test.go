package worker

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"

	"cocoon/contracts/api"
	"cocoon/contracts/api/stats"
	"cocoon/guest/worker/meter"
)

func (k *kit) html() string {
	k.t.Helper()
	r := stats.NewRenderer()
	w := httptest.NewRecorder()
	if err := r.Serve(w, httptest.NewRequestWithContext(k.t.Context(), "GET", "/stats", nil), k.w.Page()); err != nil {
		k.t.Fatal(err)
	}
	return w.Body.String()
}

func (k *kit) metrics() string {
	var text bytes.Buffer
	k.w.WriteMetrics(&text)
	return text.String()
}

// TestThePageSaysWhyAWorkerGetsNothing is complaint 6 of inference.md section 20: for every reason there is a sentence on
// the page, a state, and a series.
func TestThePageSaysWhyAWorkerGetsNothing(t *testing.T) {
	for name, tc := range map[string]struct {
		tweak             func(*Config, *Deps)
		then              func(*kit)
		state, word, says string
	}{
		"not listed": {
			func(_ *Config, d *Deps) {
				d.Eligible = func() error { return errors.New("image hash 6500 is not in root version 3") }
			},
			nil, stateNotEligible, "down", "image hash 6500 is not in root version 3",
		},
		"stopped":   {nil, func(k *kit) { k.connect(5); k.w.SetEnabled(false) }, stateIdle, "stopped", "stopped by the operator"},
		"no proxy":  {func(_ *Config, d *Deps) { d.Proxies = func() []string { return nil } }, nil, stateIdle, "down", "no proxy is connected"},
		"no engine": {nil, func(k *kit) { k.connect(5); k.engine.SetHealthy(false) }, stateIdle, "down", "the engine"},
		"no work":   {nil, func(k *kit) { k.connect(5) }, stateIdle, "OK", "no proxy has a request"},
	} {
		t.Run(name, func(t *testing.T) {
			k := newKit(t, tc.tweak)
			if tc.then != nil {
				tc.then(k)
			}
			k.until("the verdict says "+tc.says, func() bool {
				v := k.w.Page().Verdict
				return v.Word == tc.word && v.State == tc.state && strings.Contains(strings.Join(v.Reasons, " "), tc.says)
			})
			if html := k.html(); !strings.Contains(html, tc.says) || !strings.Contains(html, tc.state) {
				t.Error("the page does not say it")
			}
			if want := `cocoon_worker_state{state="` + strings.ReplaceAll(tc.state, " ", "_") + `"} 1`; !strings.Contains(k.metrics(), want) {
				t.Errorf("no %s in\n%s", want, k.metrics())
			}
		})
	}
}

func TestAWorkerAtWorkEarns(t *testing.T) {
	k := newKit(t, nil)
	p := k.connect(5)
	p.query(1, call{body: chat(true, "fault:hang-body")})
	k.until("it earns", func() bool { return k.w.Page().Verdict.State == stateEarning })
	if v := k.w.Page().Verdict; v.Word != "OK" || len(v.Reasons) != 0 {
		t.Errorf("%+v", v)
	}
	k.w.look()
	if m := k.metrics(); !strings.Contains(m, "cocoon_worker_requests_active 1\n") || !strings.Contains(m, "cocoon_worker_ready 1\n") {
		t.Errorf("metrics:\n%s", m)
	}
}

// TestNoPromptIsMeasurable: neither page nor metrics nor JSON tell the size of a prompt until ten requests have come, and
// then their sum alone.
func TestNoPromptIsMeasurable(t *testing.T) {
	k := newKit(t, nil)
	p := k.connect(5)
	prompts := func() (float64, string) {
		raw, err := json.Marshal(k.w.JSONStats())
		if err != nil {
			t.Fatal(err)
		}
		var doc struct {
			Totals map[string]float64
			Stats  map[string][]float64
		}
		if err := json.Unmarshal(raw, &doc); err != nil {
			t.Fatal(err)
		}
		if doc.Totals["prompt_tokens"] != doc.Stats["prompt_adjusted_tokens_used"][0] {
			t.Errorf("%s", raw)
		}
		_, line, _ := strings.Cut(k.metrics(), `cocoon_worker_tokens_total{class="prompt"} `)
		line, _, _ = strings.Cut(line, "\n")
		return doc.Totals["prompt_tokens"], line
	}
	for i := range uint32(aggregate) {
		k.until("all before are counted", func() bool { return k.w.Status().Totals.Success == int64(i) })
		if n, line := prompts(); n != 0 || line != "0" {
			t.Fatalf("%v and %s prompt tokens are shown after %d requests", n, line, i)
		}
		if a := p.run(i+1, call{body: chat(i%2 == 0, canary)}); a.code != 0 {
			t.Fatalf("%d %s", a.code, a.text)
		}
	}
	k.until("they are shown", func() bool { n, line := prompts(); return n == 5*aggregate && line == "50" })
	if html := k.html(); strings.Contains(html, canary) {
		t.Error("a prompt is on the page")
	}
}

func TestThePageTellsOfErrorsWithoutTheirContent(t *testing.T) {
	k := newKit(t, nil)
	p := k.connect(5)
	p.run(1, call{body: chat(false, "fault:status-500 "+canary)})
	p.run(2, call{body: chat(true, "fault:cut-after-tokens "+canary)})
	p.run(3, call{body: `{"model":"` + canary + `","messages":[]}`})
	k.until("the third is over", func() bool { return k.w.Status().Totals.Refused == 1 })
	page := k.w.Page()
	errs := page.Tables[1]
	if len(errs.Rows) != 2 || errs.Rows[1][1].Text != "engine error" || errs.Rows[1][2].Text != "status 500" || errs.Rows[0][2].Text != "engine truncated" { // the third is its caller's
		t.Errorf("%+v", errs.Rows)
	}
	raw, err := json.Marshal([]any{page, k.w.JSONStats()})
	if err != nil || bytes.Contains(raw, []byte(canary)) || strings.Contains(k.metrics(), canary) {
		t.Errorf("a prompt is shown, or %v", err)
	}
}

// TestThePageSaysWhyTheEngineFailed, in words of its own, whatever was wrong.
func TestThePageSaysWhyTheEngineFailed(t *testing.T) {
	k := newKit(t, nil)
	p := k.connect(5)
	id := byte(0)
	for fault, want := range map[string]string{
		"status-500": "status 500", "cut-in-head": "closed the connection", "gzip": "no answer came", "redirect": "status 3", "huge-header": "no answer came",
		"wrong-type": "another type", "ndjson": "another type",
	} {
		id++
		p.run(uint32(id), call{body: chat(true, "fault:"+fault+" "+canary)})
		k.until(fault, func() bool { return k.w.Status().Totals.Failed == int64(id) })
		row := k.w.Page().Tables[1].Rows[0]
		if row[1].Text != "engine error" || !strings.Contains(row[2].Text, want) || strings.Contains(row[2].Text, canary) {
			t.Errorf("%s: %q %q, want %q", fault, row[1].Text, row[2].Text, want)
		}
	}
	for name, tc := range map[string]struct {
		out  outcome
		want string
	}{
		"silent":       {outcome{why: reasonOf(fmt.Errorf("reading: %w", errSilent), "x"), used: meter.Result{Code: api.EngineError}}, "it fell silent"},
		"went down":    {outcome{why: reasonOf(errEngineDown, "x")}, "it did not answer its health check"},
		"an error":     {outcome{used: meter.Result{Code: api.EngineError}}, "its answer is an error"},
		"truncated":    {outcome{used: meter.Result{Code: api.EngineTruncated}, why: "x"}, string(api.EngineTruncated)},
		"unknown":      {outcome{why: reasonOf(errors.New(canary), "x")}, "x"},
		"a time limit": {outcome{text: "timeout"}, "timeout"},
	} {
		if got := tc.out.reason(); got != tc.want {
			t.Errorf("%s: %q, want %q", name, got, tc.want)
		}
	}
}

// TestJSONStatsHasTheKeysOfTheReference is the worker's part of the table in protocol.md section 8.2.
func TestJSONStatsHasTheKeysOfTheReference(t *testing.T) {
	k := newKit(t, nil)
	k.connect(5)
	raw, err := json.Marshal(k.w.JSONStats())
	if err != nil {
		t.Fatal(err)
	}
	var doc map[string]any
	if err := json.Unmarshal(raw, &doc); err != nil {
		t.Fatal(err)
	}
	list, _ := doc["proxies"].([]any)
	if len(list) != 1 {
		t.Fatalf("proxies %s", raw)
	}
	for where, want := range map[string]struct {
		in   any
		keys string
	}{
		"status": {doc["status"], "wallet_balance actual_image_hash actual_model ton_last_synced_at enabled git_commit git_commit_data"},
		"stats": {doc["stats"], "queries success failed bytes_received bytes_sent time total_adjusted_tokens_used prompt_adjusted_tokens_used " +
			"cached_adjusted_tokens_used completion_adjusted_tokens_used reasoning_adjusted_tokens_used"},
		"localconfig": {doc["localconfig"], "owner_address model coefficient"},
		"proxies[]": {list[0], "sc_inited proxy_sc_address proxy_public_key sc_address earned_tokens_committed_to_blockchain earned_tokens_committed_to_proxy_db " +
			"earned_tokens_max_known cached_out_tokens expected_cached_out_tokens running_request params_version"},
	} {
		o, _ := want.in.(map[string]any)
		for key := range strings.FieldsSeq(want.keys) {
			if _, ok := o[key]; !ok {
				t.Errorf("%s has no %s", where, key)
			}
		}
	}
}
