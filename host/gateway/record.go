package gateway

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"cocoon/contracts/api"
	"cocoon/contracts/api/stats"
)

// The ways a request ends, as a closed set of labels.
const (
	statusComplete  = "complete"
	statusCancelled = "cancelled"
	statusDeadline  = "deadline"
	statusFailed    = "failed"
	statusRefused   = "refused"
)

func statuses() []string {
	return []string{statusComplete, statusCancelled, statusDeadline, statusFailed, statusRefused}
}

// outcome is how a request ended.
type outcome struct {
	status  string
	code    api.Code
	http    int
	verdict *verdict
}

// usage is what a request used.
type usage struct {
	verdict                               *verdict
	prompt, cached, completion, reasoning int64
	cost                                  uint64
}

// row is one of the last requests, as the page shows it.
type row struct {
	id, model, status, code string
	http                    int
	at                      time.Time
	first, total            time.Duration
	use                     usage
	settled                 bool
}

// maxRows is how many of the last requests the page shows.
const maxRows = 20

// recorder counts.
type recorder struct {
	now    func() time.Time
	active atomic.Int64

	bytesIn, bytesOut, seconds                  stats.Counter
	byStatus                                    map[string]*stats.Counter
	prompt, cached, completion, reasoning, nano stats.Counter
	receiptOK, receiptBad, receiptMissing       stats.Counter
	ttft, total                                 *stats.Latency
	ended                                       map[string]*stats.History // by status
	tokens                                      [4]*stats.History         // prompt, cached, completion, reasoning
	spent                                       *stats.History
	underWay                                    *stats.Level
	health                                      stats.Watch

	mu   sync.Mutex
	rows []row
	next int      // where the next row goes, once there are maxRows
	bad  []string // the last receipts that were not good: id and class
}

func newRecorder(clock func() time.Time) *recorder {
	now := clock()
	r := &recorder{
		now: clock, byStatus: make(map[string]*stats.Counter), ended: make(map[string]*stats.History), spent: stats.NewHistory(now),
		ttft: stats.NewLatency(now), total: stats.NewLatency(now), underWay: stats.NewLevel(now),
	}
	for _, s := range statuses() {
		r.byStatus[s], r.ended[s] = &stats.Counter{}, stats.NewHistory(now)
	}
	for i := range r.tokens {
		r.tokens[i] = stats.NewHistory(now)
	}
	return r
}

// begin counts a request as under way until its report.
func (r *recorder) begin() { r.underWay.Set(r.now(), float64(r.active.Add(1))) }

// counted is how many requests ended in one of the ways.
func (r *recorder) counted(now time.Time, ways ...string) (sum stats.Reading) {
	for _, w := range ways {
		for i, n := range r.byStatus[w].Read(now) {
			sum[i] += n
		}
	}
	return sum
}

// queries are all requests that have ended, success those that are complete, and failed those that somebody who serves has
// failed.
func (r *recorder) queries(now time.Time) stats.Reading { return r.counted(now, statuses()...) }
func (r *recorder) success(now time.Time) stats.Reading { return r.counted(now, statusComplete) }
func (r *recorder) failed(now time.Time) stats.Reading {
	return r.counted(now, statusFailed, statusDeadline)
}

func (r *recorder) refused(now time.Time) {
	r.byStatus[statusRefused].Add(now, 1)
	r.ended[statusRefused].Add(now, 1)
}

// report counts a request that has ended.
func (x *exchange) report() {
	now, r := x.s.cfg.Now(), x.s.record
	if x.outcome.status == "" {
		x.outcome.status = statusFailed
	}
	total := now.Sub(x.began)
	r.byStatus[x.outcome.status].Add(now, 1)
	r.ended[x.outcome.status].Add(now, 1)
	r.bytesIn.Add(now, float64(len(x.body)))
	r.seconds.Add(now, total.Seconds())
	if x.outcome.status == statusComplete {
		r.total.Add(now, total)
	}
	if x.first > 0 {
		r.ttft.Add(now, x.first)
	}
	if x.call != nil {
		_, transcript, _ := x.call.Paper()
		r.bytesOut.Add(now, float64(len(transcript)))
	}
	r.list(row{
		id: x.name.request(), model: x.s.listed(x.req.Model), status: x.outcome.status, code: string(x.outcome.code), http: x.outcome.http,
		at: now, first: x.first, total: total,
	})
	r.underWay.Set(now, float64(r.active.Add(-1)))
}

// list keeps a request that has ended among the last ones.
func (r *recorder) list(entry row) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := range r.rows { // its receipt may have come first
		if r.rows[i].id == entry.id {
			entry.use, entry.settled = r.rows[i].use, r.rows[i].settled
			r.rows[i] = entry
			return
		}
	}
	r.push(entry)
}

func (r *recorder) push(entry row) {
	if len(r.rows) < maxRows {
		r.rows = append(r.rows, entry)
		return
	}
	r.rows[r.next] = entry
	r.next = (r.next + 1) % maxRows
}

// used counts what the request with an id used.
func (r *recorder) used(now time.Time, id string, u usage) {
	counters := [...]*stats.Counter{&r.prompt, &r.cached, &r.completion, &r.reasoning}
	for i, n := range [...]int64{u.prompt, u.cached, u.completion, u.reasoning} {
		if n > 0 {
			counters[i].Add(now, float64(n))
			r.tokens[i].Add(now, float64(n))
		}
	}
	if u.cost > 0 {
		r.nano.Add(now, float64(u.cost))
		r.spent.Add(now, float64(u.cost))
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	switch v := u.verdict; {
	case v == nil:
	case v.ok():
		r.receiptOK.Add(now, 1)
	case v.class == classMissing:
		r.receiptMissing.Add(now, 1)
	default:
		r.receiptBad.Add(now, 1)
		r.bad = append(r.bad, v.class)
		r.bad = r.bad[max(len(r.bad)-maxRows, 0):]
	}
	for i := range r.rows {
		if r.rows[i].id == id {
			r.rows[i].use, r.rows[i].settled = u, true
			return
		}
	}
	r.push(row{id: id, at: now, use: u, settled: true, status: "-"})
}

// recent is the last requests, newest first, and the classes of bad receipts.
func (r *recorder) recent() (rows []row, bad []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	rows = append(append(rows, r.rows[r.next:]...), r.rows[:r.next]...)
	slices.Reverse(rows)
	return rows, append(bad, r.bad...)
}

// listed is a model's name if some proxy offers it: a name is content until then, and is neither shown nor counted.
func (s *Server) listed(model string) string {
	if name, ok := s.cfg.Pool.Offered(model); ok {
		return name
	}
	return "(not offered)"
}
