package clock

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var (
	errDown = errors.New("server is down")
	today   = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
)

// machine is a clock with time servers.
type machine struct {
	now     time.Time
	set     []time.Time
	servers map[string]time.Duration
	setErr  error
}

func (m *machine) syncer() Syncer {
	return Syncer{
		Now: func() time.Time { return m.now },
		Set: func(t time.Time) error {
			m.set = append(m.set, t)
			return m.setErr
		},
		Query: func(server string, _ time.Duration) (time.Duration, error) {
			if offset, ok := m.servers[server]; ok {
				return offset, nil
			}
			return 0, errDown
		},
	}
}

func TestSync(t *testing.T) {
	y1970 := time.Unix(100, 0)
	tests := map[string]struct {
		now     time.Time
		servers map[string]time.Duration
		ask     []string
		want    Result
		set     []time.Time
		err     error
	}{
		"no servers":            {now: today},
		"no servers, no clock":  {now: y1970, err: ErrBeforeEpoch},
		"small step":            {now: today, servers: map[string]time.Duration{"a": time.Minute}, ask: []string{"a"}, want: Result{"a", time.Minute, true}, set: []time.Time{today.Add(time.Minute)}},
		"backwards":             {now: today, servers: map[string]time.Duration{"a": -time.Hour}, ask: []string{"a"}, want: Result{"a", -time.Hour, true}, set: []time.Time{today.Add(-time.Hour)}},
		"below the threshold":   {now: today, servers: map[string]time.Duration{"a": time.Millisecond}, ask: []string{"a"}, want: Result{Server: "a", Offset: time.Millisecond}},
		"first server is down":  {now: today, servers: map[string]time.Duration{"b": time.Second}, ask: []string{"a", "b"}, want: Result{"b", time.Second, true}, set: []time.Time{today.Add(time.Second)}},
		"all servers are down":  {now: today, ask: []string{"a", "b"}, err: errDown},
		"beyond the bound":      {now: today, servers: map[string]time.Duration{"a": MaxStep + time.Second}, ask: []string{"a"}, want: Result{Server: "a", Offset: MaxStep + time.Second}, err: ErrStep},
		"to before the epoch":   {now: Epoch().Add(time.Hour), servers: map[string]time.Duration{"a": -2 * time.Hour}, ask: []string{"a"}, want: Result{Server: "a", Offset: -2 * time.Hour}, err: ErrBeforeEpoch},
		"from a dead clock":     {now: y1970, servers: map[string]time.Duration{"a": today.Sub(y1970)}, ask: []string{"a"}, want: Result{"a", today.Sub(y1970), true}, set: []time.Time{today}},
		"dead clock, bad reply": {now: y1970, servers: map[string]time.Duration{"a": time.Hour}, ask: []string{"a"}, want: Result{Server: "a", Offset: time.Hour}, err: ErrBeforeEpoch},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			m := &machine{now: tc.now, servers: tc.servers}
			got, err := m.syncer().Sync(context.Background(), tc.ask)
			if !errors.Is(err, tc.err) {
				t.Fatalf("err = %v, want %v", err, tc.err)
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Error(diff)
			}
			if diff := cmp.Diff(tc.set, m.set); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestErrorsNameTheServers(t *testing.T) {
	_, err := (&machine{now: today}).syncer().Sync(context.Background(), []string{"one", "two"})
	if err == nil || !strings.Contains(err.Error(), "one") || !strings.Contains(err.Error(), "two") {
		t.Errorf("err = %v", err)
	}
}

func TestAKernelThatRefusesTheStepIsReported(t *testing.T) {
	m := &machine{now: today, servers: map[string]time.Duration{"a": time.Minute}, setErr: errDown}
	if res, err := m.syncer().Sync(context.Background(), []string{"a"}); !errors.Is(err, errDown) || res.Stepped {
		t.Errorf("%+v, %v", res, err)
	}
}

func TestSyncStopsAtItsDeadline(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	m := &machine{now: today, servers: map[string]time.Duration{"a": time.Minute}}
	if _, err := m.syncer().Sync(ctx, []string{"a"}); !errors.Is(err, context.Canceled) || len(m.set) != 0 {
		t.Errorf("err = %v, set %v", err, m.set)
	}
}

func TestSystemAsksOverTheNetwork(t *testing.T) {
	if _, err := queryNTP("host.invalid", time.Second); err == nil {
		t.Error("a name that cannot exist answered")
	}
	if s := System(); s.Now == nil || s.Set == nil || s.Query == nil {
		t.Error("the system's syncer is incomplete")
	}
}
