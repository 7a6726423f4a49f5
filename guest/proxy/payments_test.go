package proxy

import (
	"slices"
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
