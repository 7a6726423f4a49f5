package gateway

import (
	"slices"
	"strconv"
	"testing"
	"time"
)

// TestTheLastRequestsAreThereNewestFirst, however many there were, and none is listed twice.
func TestTheLastRequestsAreThereNewestFirst(t *testing.T) {
	for _, n := range []int{0, 1, maxRows - 1, maxRows, maxRows + 1, 3*maxRows + 7} {
		r := newRecorder(time.Now)
		var want []string
		for i := range n {
			id := "req_" + strconv.Itoa(i)
			want = append(want, id)
			r.used(time.Now(), id, usage{cost: uint64(i)})
			r.list(row{id: id, status: statusComplete})
		}
		slices.Reverse(want)
		want = want[:min(n, maxRows)]
		rows, _ := r.recent()
		var got []string
		for _, e := range rows {
			got = append(got, e.id)
			if !e.settled || e.status != statusComplete || "req_"+strconv.FormatUint(e.use.cost, 10) != e.id {
				t.Errorf("%d requests: row %+v", n, e)
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("%d requests: %v, want %v", n, got, want)
		}
	}
}
