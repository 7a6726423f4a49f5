package conformance

import (
	"testing/synctest"
	"time"

	"cocoon/host/gateway/upstream"
)

// params is the bare proxy.params of a scripted proxy; a negative version leaves it out.
func (m msg) params(version int32, stated bool) msg {
	flags := int32(1)
	if stated {
		flags = 3
	}
	m = m.i32(flags).raw(make([]byte, 32)...).str(address(1).Friendly(false)).str(address(0xa1).Friendly(false)).yes(true)
	if stated {
		m = m.i32(version)
	}
	return m
}

// proxyForWorker shakes hands with a worker that has dialled: the reference's side of protocol.md section 5.1.
func (n *network) proxyForWorker(p *peer, v int32) {
	n.Helper()
	p.accept()
	id, r := p.query()
	r.expect(workerConnect)
	if flags := r.i32(); flags&3 != 3 {
		n.Errorf("worker.params has flags %d", flags)
	}
	r.str()
	r.str()
	p.answer(id, boxed(workerConnected).params(v, true).str(address(0xb1).Friendly(false)))
	id, r = p.query()
	r.expect(workerCompare)
	if bc, db, most := r.i64(), r.i64(), r.i64(); bc != 0 || db != 0 || most != 0 {
		n.Errorf("a worker without a past claims %d, %d, %d", bc, db, most)
	}
	r.end()
	p.answer(id, boxed(workerCompared).raw(boxed(paymentData).str("signed")...).i64(0).i64(0).i32(0))
	id, r = p.query()
	r.expect(workerComplete)
	r.yes()
	r.end()
	p.answer(id, boxed(workerCompleted))
	synctest.Wait()
}

// runOnWorker is the proxy's request in the form of a version.
func runOnWorker(v int32, id int, body string) msg {
	m := boxed(proxyRunQueryEx)
	if v == 0 {
		m = boxed(proxyRunQuery)
	}
	m = m.bin(post("/v1/chat/completions", body)).raw(boxed(paymentEmpty)...).i64(1000).f64(108.3).raw(named(id)...)
	if v > 0 {
		m = m.i32(1).yes(true)
	}
	return m
}

// answered reads a worker's messages about one request until the last.
func (p *peer) answered(v int32, id int) (m reply) {
	p.t.Helper()
	for !m.final {
		kind, r := p.hearing(proxyAnswer, proxyPart, proxyError, proxyPartErr, proxyAnswerEx, proxyPartEx, proxyErrorEx)
		var at [32]byte
		switch kind {
		case proxyAnswerEx, proxyPartEx, proxyErrorEx:
			at = r.int256()
			if kind == proxyErrorEx {
				m.code, m.text = r.i32(), r.str()
			} else {
				m.take(kind == proxyAnswerEx, r)
			}
			m.workerInfo(r)
		case proxyAnswer, proxyPart:
			m.take(kind == proxyAnswer, r)
			m.final, at, m.used = r.yes(), r.int256(), r.tokens()
		default:
			m.code, m.text = r.i32(), r.str()
			at, m.used, m.final = r.int256(), r.tokens(), true
		}
		r.end()
		if at != [32]byte(named(id)) {
			p.t.Fatalf("an answer to request %x, asked was %d", at, id)
		}
		m.message = names()[kind]
	}
	if m.times != (v >= 2) {
		p.t.Errorf("times %v at version %d", m.times, v)
	}
	return m
}

// workerInfo reads the flags and the final_info of a worker behind them.
func (m *reply) workerInfo(r *rd) {
	if r.i32()&1 == 0 {
		return
	}
	flags := r.i32()
	m.final, m.used, m.times = true, r.tokens(), flags&2 != 0
	if flags&1 != 0 {
		r.str()
	}
	if m.times {
		r.f64()
		r.f64()
	}
}

// proxyForClient shakes hands with a gateway that has dialled: the reference's side of protocol.md section 4.1.
func (n *network) proxyForClient(p *peer, v int32) {
	n.Helper()
	p.accept()
	id, r := p.query()
	r.expect(clientConnect)
	if flags := r.i32(); flags&3 != 3 {
		n.Errorf("client.params has flags %d", flags)
	}
	p.answer(id, boxed(clientConnected).params(v, true).str(address(0xc1).Friendly(false)).raw(boxed(authLong).i64(9)...).raw(boxed(paymentEmpty)...))
	id, r = p.query()
	r.expect(authorizeLong).end()
	p.answer(id, boxed(authorized).raw(boxed(paymentEmpty)...).i64(0).i64(0))
	id, r = p.query()
	r.expect(getWorkerTypesV2).end()
	p.answer(id, boxed(workerTypesV2).i32(1).str(base).i32(1).i32(0).i32(1000).i32(1).i32(4))
	synctest.Wait()
}

// call hands the gateway's client a request.
func (n *network) call(link *upstream.Link, id int) *upstream.Call {
	n.Helper()
	c, err := link.Start(n.ctx, upstream.Ask{
		ID: [32]byte(named(id)), Path: "/v1/chat/completions", ContentType: "application/json", Model: base, Body: []byte(chat), MaxCoefficient: 4000,
		MaxTokens: 100, Timeout: time.Minute, Debug: true,
	})
	n.check(err)
	return c
}

// reads takes a client's request.
func (p *peer) reads(v int32, id int) {
	p.t.Helper()
	_, r := p.hearing(clientRunQueryEx)
	if got := r.str(); got != base {
		p.t.Errorf("model %q", got)
	}
	inner := &rd{p.t, []byte(r.str())}
	coefficient, most, timeout, at := r.i32(), r.i32(), r.f64(), r.int256()
	if r.i32(); r.i32()&1 != 0 {
		r.yes()
	}
	r.end()
	inner.expect(httpRequest)
	want := 57.0
	if v >= 5 {
		want = 60
	}
	if coefficient != 4000 || most != 100 || timeout != want || at != [32]byte(named(id)) {
		p.t.Errorf("coefficient %d, max_tokens %d, timeout %v, id %x", coefficient, most, timeout, at)
	}
}

// says is a whole answer to a client in one message.
func (p *peer) says(v int32, id int, head msg) {
	m := boxed(clientAnswerEx).raw(named(id)...).bin(head).i32(1)
	if v >= 2 {
		p.tell(m.i32(2).tokens(*usage(v)).f64(1).f64(4).f64(2).f64(3))
		return
	}
	p.tell(m.i32(0).tokens(*usage(v)))
}
