package conformance

import (
	"bufio"
	"encoding/binary"
	"encoding/hex"
	"io"
	"net"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// patience bounds every wait; a bubble's clock makes it short.
const patience = 10 * time.Minute

// peer is one end of a connection, scripted by bytes.
type peer struct {
	t     testing.TB
	conn  net.Conn
	notes *transcript // nil where nothing is kept

	writing sync.Mutex
	out     uint32
	frames  chan []byte
	packets [][]byte // that came while something else was waited for
	next    int64    // the next query's id
}

// newPeer begins to read a connection.
func newPeer(tb testing.TB, conn net.Conn, notes *transcript) *peer {
	tb.Helper()
	p := &peer{t: tb, conn: conn, notes: notes, frames: make(chan []byte, 1<<14), next: 1}
	go p.read()
	return p
}

// read keeps the frames; a wrong number or length is a failure of the other side.
func (p *peer) read() {
	defer close(p.frames)
	in := bufio.NewReader(p.conn)
	for seqno := uint32(0); ; seqno++ {
		var head [8]byte
		if _, err := io.ReadFull(in, head[:]); err != nil {
			return
		}
		size := binary.LittleEndian.Uint32(head[:])
		if got := binary.LittleEndian.Uint32(head[4:]); got != seqno || size < 4 || size > 1<<24 {
			p.t.Errorf("frame number %d of %d bytes, want number %d", got, size, seqno)
			return
		}
		payload := make([]byte, size)
		if _, err := io.ReadFull(in, payload); err != nil {
			return
		}
		p.notes.add("<", head[:], payload)
		p.frames <- payload
	}
}

// frame sends a payload under the next number.
func (p *peer) frame(payload []byte) {
	if p.notes != nil {
		synctest.Wait() // so that the order of what is kept is the same every time
	}
	p.writing.Lock()
	defer p.writing.Unlock()
	head := binary.LittleEndian.AppendUint32(nil, uint32(len(payload)))
	head = binary.LittleEndian.AppendUint32(head, p.out)
	p.out++
	p.notes.add(">", head, payload)
	_, _ = p.conn.Write(append(head, payload...)) // a peer that has closed is seen by who waits for it
}

// connect is the dialler's handshake.
func (p *peer) connect() {
	p.t.Helper()
	p.frame(boxed(tcpConnect).i64(0x1122334455667788))
	r := p.payload(tcpConnected)
	if id := r.i64(); id != 0x1122334455667788 {
		p.t.Fatalf("tcp.connected echoes %x", id)
	}
	r.end()
}

// accept is the other side's.
func (p *peer) accept() {
	p.t.Helper()
	r := p.payload(tcpConnect)
	p.frame(boxed(tcpConnected).i64(r.i64()))
	r.end()
}

// payload is the next frame that is no ping and, if it is a packet, was not waited for.
func (p *peer) payload(id string) *rd {
	p.t.Helper()
	timer := time.NewTimer(patience)
	defer timer.Stop()
	for {
		select {
		case f, ok := <-p.frames:
			if !ok {
				p.t.Fatalf("the other side has closed; %s was expected", names()[id])
			}
			r := &rd{p.t, f}
			switch got := r.id(); got {
			case id:
				return r
			case tcpPong:
			case tcpPing:
				p.frame(boxed(tcpPong).i64(r.i64()))
			case tcpPacket:
				p.packets = append(p.packets, []byte(r.str()))
				r.end()
			default:
				p.t.Fatalf("got %s, want %s: %x", names()[got], names()[id], f)
			}
		case <-timer.C:
			p.t.Fatalf("no %s came", names()[id])
		}
	}
}

// ask makes a query; the answer is its boxed result, or the code and text of a refusal.
func (p *peer) ask(fn msg) (answer *rd, code int32, text string) {
	p.t.Helper()
	id := p.next
	p.next++
	p.frame(boxed(tcpQuery).i64(id).bin(fn))
	timer := time.NewTimer(patience)
	defer timer.Stop()
	for {
		select {
		case f, ok := <-p.frames:
			if !ok {
				return nil, -1, "closed"
			}
			r := &rd{p.t, f}
			switch got := r.id(); got {
			case tcpAnswer, tcpError:
				if n := r.i64(); n != id {
					p.t.Fatalf("an answer to query %d, asked was %d", n, id)
				}
				if got == tcpAnswer {
					answer = &rd{p.t, []byte(r.str())}
				} else {
					code, text = r.i32(), r.str()
				}
				r.end()
				return answer, code, text
			case tcpPacket:
				p.packets = append(p.packets, []byte(r.str()))
			case tcpPong:
			default:
				p.t.Fatalf("got %s for a query", names()[got])
			}
		case <-timer.C:
			return nil, -2, "no answer"
		}
	}
}

// must is ask for what has to be answered with a type.
func (p *peer) must(fn msg, id string) *rd {
	p.t.Helper()
	r, code, text := p.ask(fn)
	if r == nil {
		p.t.Fatalf("%s is refused: %d %s", names()[hex.EncodeToString(fn[:4])], code, text)
	}
	return r.expect(id)
}

// tell sends a one-way message.
func (p *peer) tell(m msg) { p.frame(boxed(tcpPacket).bin(m)) }

// hear is the next one-way message.
func (p *peer) hear() *rd {
	p.t.Helper()
	if len(p.packets) == 0 {
		r := p.payload(tcpPacket)
		p.packets = append(p.packets, []byte(r.str()))
		r.end()
	}
	out := p.packets[0]
	p.packets = p.packets[1:]
	return &rd{p.t, out}
}

// hearing waits for a one-way message of some kind, and skips others.
func (p *peer) hearing(ids ...string) (string, *rd) {
	p.t.Helper()
	for {
		r := p.hear()
		got := r.id()
		if slices.Contains(ids, got) {
			return got, r
		}
	}
}

// closed waits until the other side has closed the connection, without having asked for anything more.
func (p *peer) closed() bool {
	timer := time.NewTimer(patience)
	defer timer.Stop()
	for {
		select {
		case f, ok := <-p.frames:
			if !ok || hex.EncodeToString(f[:4]) == tcpQuery {
				return !ok
			}
		case <-timer.C:
			return false
		}
	}
}

// query takes the next query of the other side.
func (p *peer) query() (id int64, fn *rd) {
	p.t.Helper()
	r := p.payload(tcpQuery)
	id, fn = r.i64(), &rd{p.t, []byte(r.str())}
	r.end()
	return id, fn
}

// answer answers a query, refuse refuses it.
func (p *peer) answer(id int64, result msg) { p.frame(boxed(tcpAnswer).i64(id).bin(result)) }

func (p *peer) refuse(id int64, code int32, text string) {
	p.frame(boxed(tcpError).i64(id).i32(code).str(text))
}
