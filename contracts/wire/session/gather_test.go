package session

import (
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"

	"cocoon/contracts/wire/tl"
)

// frames is a connection that takes what is written and counts how often.
type frames struct {
	net.Conn
	mu     sync.Mutex
	writes int
	bytes  int
}

func (f *frames) Write(p []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.writes++
	f.bytes += len(p)
	return len(p), nil
}

func (f *frames) count() (writes, bytes int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.writes, f.bytes
}

// TestWhoCanRunSpeaksFirst: what many goroutines send at a time leaves in few writes, whole and without waiting for a timer.
func TestWhoCanRunSpeaksFirst(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1)) // one processor: everybody but one waits for it
	const many, most = 100, 10
	near, far := net.Pipe()
	conn := &frames{Conn: near}
	s := New(conn, Options{}, &echo{})
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = s.Run(t.Context())
	}()
	if _, err := far.Write(frameOf(&tl.TCPConnect{ID: 1})); err != nil {
		t.Fatal(err)
	}
	<-s.Ready()
	var all sync.WaitGroup
	for range many {
		all.Go(func() {
			if err := s.Send(t.Context(), &tl.ClientCancelQuery{}); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	_ = far.Close()
	<-ended // what waits is sent before
	writes, bytes := conn.count()
	message := parcel{content: &tl.ClientCancelQuery{}, message: true}
	want := len(frameOf(&tl.TCPConnected{})) + many*(headerSize+message.size())
	if writes > most || bytes != want {
		t.Errorf("%d frames in %d writes of %d bytes, want %d bytes", many+1, writes, bytes, want)
	}
}

// TestAFullRecordDoesNotWait: what fills a record is not kept for the sake of company. Of many tries, for the scheduler may at
// times give the turn to who has just given it away.
func TestAFullRecordDoesNotWait(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	const tries = 200
	for name, tc := range map[string]struct {
		size int
		want bool
	}{
		"a short frame lets others run": {100, true},
		"a full record does not":        {record, false},
	} {
		t.Run(name, func(t *testing.T) {
			gaveWay := 0
			for range tries {
				if letsOthersRun(tc.size) {
					gaveWay++
				}
			}
			if got := gaveWay > tries/2; got != tc.want {
				t.Errorf("others ran in %d of %d tries", gaveWay, tries)
			}
		})
	}
}

// letsOthersRun is whether a goroutine that waits for the only processor gets it while a packet of size bytes is gathered for.
func letsOthersRun(size int) bool {
	var o outbox
	o.init(defaultMaxSend)
	_ = o.control(&tl.TCPPacket{Data: make([]byte, size)})
	var ran atomic.Bool
	done := make(chan struct{})
	go func() {
		defer close(done)
		ran.Store(true)
	}()
	o.gather()
	got := ran.Load() // with one processor the other goroutine cannot run but in gather
	<-done
	return got
}

// TestNobodyIsWokenForWhatIsTaken: the writer has one turn for all that it takes, and another for what comes later.
func TestNobodyIsWokenForWhatIsTaken(t *testing.T) {
	var o outbox
	o.init(1 << 20)
	put := func() {
		if err := o.control(&tl.TCPPing{ID: 1}); err != nil {
			t.Fatal(err)
		}
	}
	put()
	<-o.some // the writer wakes up, and gathers
	put()
	if out := o.take(nil); len(out) != 2*(headerSize+(&tl.TCPPing{}).Size()) || len(o.some) != 0 {
		t.Errorf("%d bytes were taken, %d turns are left", len(out), len(o.some))
	}
	if put(); len(o.some) != 1 {
		t.Error("what came later wakes nobody")
	}
}
