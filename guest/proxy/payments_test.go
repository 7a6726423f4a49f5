package proxy

import (
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"cocoon/contracts/wire/tl"
	"cocoon/guest/proxy/ledger"
)

// TestPaymentsAreToldOnceAMoment: peers of ours hear of several requests at once, others of each one; all can ask.
func TestPaymentsAreToldOnceAMoment(t *testing.T) {
	for name, tc := range map[string]struct {
		version int32
		pause   time.Duration
		want    []int64
	}{
		"ours, at once":        {versionOurs, 0, []int64{74}},
		"ours, later":          {versionOurs, payEvery, []int64{74, 148, 222}},
		"the second reference": {versionKeys, 0, []int64{74, 148, 222}},
	} {
		t.Run(name, func(t *testing.T) {
			inProxy(t, func(b *bench) {
				w, c := b.worker(tc.version, serveWhole), b.client(tc.version)
				var told [2][]int64 // the client, the worker
				c.act = func(m tl.Object) {
					if pay, ok := m.(*tl.ProxyClientRequestPayment); ok {
						told[0] = append(told[0], pay.MaxTokens)
					}
				}
				w.act = func(m tl.Object) {
					w.take(m)
					if pay, ok := m.(*tl.ProxyWorkerRequestPayment); ok {
						told[1] = append(told[1], pay.MaxTokens)
					}
				}
				for id := range byte(3) {
					c.send(run(id, chat))
					c.collect(id)
					b.settled()
					<-time.After(tc.pause)
				}
				if got := mustAsk[*tl.ClientPaymentStatus](c.party, &tl.ClientUpdatePaymentStatus{}); got.MaxTokens != 3*74 {
					t.Errorf("the client is told %d", got.MaxTokens)
				}
				if got := b.ledger.State(ledger.Party{Role: ledger.Worker, Address: address(5).String()}); got.Max != 3*74 {
					t.Errorf("the worker has %d", got.Max)
				}
				<-time.After(time.Second) // what was in no hurry has come
				synctest.Wait()
				for i := range told {
					if !slices.Equal(told[i], tc.want) {
						t.Errorf("told %d, want %d", told, tc.want)
					}
				}
			})
		})
	}
}

// TestNumbersNeverGoBack: whoever reads them first sends them first, and an answer that is on its way is not overtaken.
func TestNumbersNeverGoBack(t *testing.T) {
	var of told
	var mu sync.Mutex
	counter, sent := 0, []int(nil)
	push := func(slow <-chan struct{}, inside chan<- struct{}) func() {
		return func() {
			mu.Lock()
			counter++
			n := counter
			mu.Unlock()
			close(inside)
			<-slow
			mu.Lock()
			defer mu.Unlock()
			sent = append(sent, n)
		}
	}
	slow, quick, first, second := make(chan struct{}), make(chan struct{}), make(chan struct{}), make(chan struct{})
	close(quick)
	var both sync.WaitGroup
	both.Go(func() { of.push(versionKeys, time.Now, push(slow, first)) })
	<-first
	both.Go(func() { of.push(versionKeys, time.Now, push(quick, second)) })
	select {
	case <-second:
		t.Error("the second reads while the first has not sent")
	case <-time.After(20 * time.Millisecond):
	}
	close(slow)
	both.Wait()
	if !slices.Equal(sent, []int{1, 2}) {
		t.Errorf("sent %d", sent)
	}

	now := time.Now()
	if pay, err := of.answer(now, func() (ledger.Payment, error) { return ledger.Payment{Max: 7}, nil }); err != nil || pay.Max != 7 {
		t.Errorf("%+v, %v", pay, err)
	}
	for version, want := range map[int32]time.Duration{versionKeys: answerWay - time.Millisecond, versionOurs: 0} {
		of.at = time.Time{}
		sent := false
		if wait := of.try(version, now.Add(time.Millisecond), func() { sent = true }); wait != want || sent != (want == 0) {
			t.Errorf("version %d waits for %s, sent %t", version, wait, sent)
		}
	}
	of.push(versionKeys, time.Now, func() { sent = append(sent, 3) })
	if took := time.Since(now); took < answerWay || len(sent) != 3 {
		t.Errorf("sent %d after %s", sent, took)
	}
}

// TestAClockThatGoesBackHidesNothing: who was told in its future is told again.
func TestAClockThatGoesBackHidesNothing(t *testing.T) {
	var of told
	now, sent := time.Unix(1_000_000_000, 0), 0
	for i, step := range []struct {
		after time.Duration
		want  int
	}{{0, 1}, {payEvery / 2, 1}, {payEvery / 2, 2}, {-time.Hour, 3}, {payEvery / 2, 3}} {
		now = now.Add(step.after)
		of.push(versionOurs, func() time.Time { return now }, func() { sent++ })
		if sent != step.want {
			t.Errorf("step %d: told %d times, want %d", i, sent, step.want)
		}
	}
}
