package proxy

import (
	"bytes"
	"encoding/json"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"cocoon/contracts/api/stats"
)

// highest is the largest value of a line of the page's charts.
func highest(t *testing.T, p stats.Page, chart, name string) (most float64) {
	t.Helper()
	for _, c := range p.Charts {
		for _, l := range c.Lines {
			if c.Title == chart && l.Name == name {
				for _, v := range l.Hour {
					if v > most { // not NaN
						most = v
					}
				}
				return most
			}
		}
	}
	t.Fatalf("no line %s in chart %s", name, chart)
	return 0
}

// TestThePageRemembersWhatHappened: requests, their ends, their worker's reasons and their bills are in the charts, and
// the numbers and tables agree.
func TestThePageRemembersWhatHappened(t *testing.T) {
	inProxy(t, func(b *bench) {
		if page := b.p.Page(); page.Verdict.Word != "degraded" || len(page.Verdict.Reasons) != 1 || page.Tables[0].Empty == "" {
			t.Errorf("without a worker: %+v", page.Verdict)
		}
		if r := b.p.Readiness(); !r.Ready || len(r.Reasons) != 1 || r.Reasons[0].Code != "no_worker_ready" {
			t.Errorf("without a worker: %+v", r)
		}
		b.p.look()
		b.worker(5, serveWhole)
		c := b.client(5)
		c.send(run(1, chat))
		c.collect(1)
		synctest.Wait()
		b.p.look()
		time.Sleep(8 * time.Second) //nolint:forbidigo // the bubble's clock: a rate shows once half of its slot has passed
		page := b.p.Page()
		if page.Verdict.Word != "OK" || page.Verdict.Since.IsZero() {
			t.Errorf("verdict %+v", page.Verdict)
		}
		for _, want := range []struct{ chart, line string }{
			{"Requests by outcome", "complete"},
			{"Tokens billed", "prompt"},
			{"Tokens billed", "completion"},
			{"Choices by reason", "only one"},
			{"Workers", "ready"},
			{"Whole request", "P50"},
		} {
			if want.chart != "Whole request" && highest(t, page, want.chart, want.line) <= 0 {
				t.Errorf("%s: nothing in %s", want.chart, want.line)
			}
		}
		if v := highest(t, page, "Requests by outcome", "failed"); v != 0 {
			t.Errorf("%v requests a second have failed", v)
		}
		if row := page.Tables[0].Rows[0]; row[2].Text != "ready" || row[7].Text != "100.0 %" {
			t.Errorf("the worker's row is %+v", row)
		}
		b.p.Refuse("tired")
		if page := b.p.Page(); page.Verdict.Word != "down" || page.Verdict.Reasons[0] != "tired" {
			t.Errorf("verdict %+v", page.Verdict)
		}
	})
}

// TestJSONStatsHasTheKeysOfTheReference is the proxy's part of the table in protocol.md section 8.2.
func TestJSONStatsHasTheKeysOfTheReference(t *testing.T) {
	inProxy(t, func(b *bench) {
		b.worker(5, serveWhole)
		b.client(5)
		raw, err := json.Marshal(b.p.JSONStats())
		if err != nil {
			t.Fatal(err)
		}
		var doc map[string]any
		if err := json.Unmarshal(raw, &doc); err != nil {
			t.Fatal(err)
		}
		has := func(where string, v any, keys string) {
			o, ok := v.(map[string]any)
			for key := range strings.FieldsSeq(keys) {
				if _, found := o[key]; !ok || !found {
					t.Errorf("%s has no %s", where, key)
				}
			}
		}
		first := func(key string) any {
			list, _ := doc[key].([]any)
			if len(list) == 0 {
				t.Fatalf("%s is empty", key)
			}
			return list[0]
		}
		has("status", doc["status"], "wallet_balance actual_image_hash ton_last_synced_at enabled git_commit git_commit_data")
		has("stats", doc["stats"], "queries success failed rejected bytes_received bytes_sent time total_adjusted_tokens_used prompt_adjusted_tokens_used "+
			"cached_adjusted_tokens_used completion_adjusted_tokens_used reasoning_adjusted_tokens_used")
		has("wallet", doc["wallet"], "address balance seqno pending_transactions_cnt active_transactions_cnt")
		has("localconfig", doc["localconfig"], "root_address owner_address check_worker_hashes check_image_hashes")
		has("root_contract_config", doc["root_contract_config"], "version params_version is_test price_per_token worker_fee_per_token prompt_tokens_price_multiplier "+
			"cached_tokens_price_multiplier completion_tokens_price_multiplier reasoning_tokens_price_multiplier")
		has("smartcontract", doc["smartcontract"], "address params_version balance ready_for_withdraw old_instances")
		has("workers[]", first("workers"), "owner_address sc_address earned_tokens unpayed_tokens paying_now running_queries")
		has("worker_connections[]", first("worker_connections"), "owner_address model worker_hash coefficient running_queries queries_10m queries_time_10m "+
			"worker_queries_time_10m queries_success_10m enabled")
		has("clients[]", first("clients"), "owner_address sc_address used_tokens tokens_to_charge available_tokens reserved_tokens running_queries closing closed")
		counters, _ := doc["stats"].(map[string]any)
		for _, list := range counters {
			if l, ok := list.([]any); !ok || len(l) != 7 {
				t.Errorf("a counter is %v", list)
			}
		}
	})
}

// TestMetricsAreOfClosedSets: every series has the prefix, no label is from a peer, and a scraper can read all of it.
func TestMetricsAreOfClosedSets(t *testing.T) {
	inProxy(t, func(b *bench) {
		b.worker(5, serveWhole)
		c := b.client(5)
		c.send(run(1, chat))
		c.collect(1)
		synctest.Wait()
		var text bytes.Buffer
		b.p.WriteMetrics(&text)
		for line := range strings.Lines(text.String()) {
			if !strings.HasPrefix(line, "#") && !strings.HasPrefix(line, "cocoon_") {
				t.Errorf("series %s", line)
			}
		}
		for _, want := range []string{"cocoon_proxy_ready 1", "cocoon_proxy_queue_wait_seconds_count 1", "cocoon_proxy_request_seconds_count 1", "cocoon_process_goroutines "} {
			if !strings.Contains(text.String(), want) {
				t.Errorf("no %s in\n%s", want, text.String())
			}
		}
	})
}

// TestALongListIsCut: the page stays below its size with any number of peers.
func TestALongListIsCut(t *testing.T) {
	inProxy(t, func(b *bench) {
		s := Status{Workers: make([]WorkerStatus, 500), Clients: make([]ClientStatus, 500)}
		for i := range s.Workers {
			s.Workers[i].Spec.Model = strings.Repeat("m", 64) + "@" + strings.Repeat("c", 64)
			s.Workers[i].Held = strings.Repeat("not listed ", 8)
		}
		page := b.p.Page()
		page.Tables = []stats.Table{b.p.workerTable(s), b.p.clientTable(s)}
		r := stats.NewRenderer()
		w := httptest.NewRecorder()
		const most = 60_000
		if err := r.Serve(w, httptest.NewRequestWithContext(t.Context(), "GET", "/stats", nil), page); err != nil || w.Body.Len() > most {
			t.Errorf("%d bytes, %v", w.Body.Len(), err)
		}
		if !strings.Contains(w.Body.String(), "the first 30 of 500") {
			t.Error("it does not say that it is cut")
		}
	})
}
