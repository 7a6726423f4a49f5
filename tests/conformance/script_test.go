package conformance

import (
	"encoding/hex"
	"strings"

	"cocoon/guest/proxy"
)

// A generation's range of versions (protocol.md section 1).
type offer struct{ low, high int32 }

// versions appends min and max where they are offered; bit is their flag.
func (m msg) versions(o *offer) msg {
	if o == nil {
		return m
	}
	return m.i32(o.low).i32(o.high)
}

// connectClient is client.connectToProxy.
func connectClient(o *offer, config int32) msg {
	flags := int32(1)
	if o != nil {
		flags = 3
	}
	return boxed(clientConnect).i32(flags).str(address(4).Friendly(false)).yes(true).versions(o).i32(config)
}

// connectWorker is worker.connectToProxy; field order as in the table: is_test, proxy_cnt, max_active_requests, versions.
func connectWorker(o *offer, n byte, coefficient, slots int32) msg {
	return connectModel(model, o, n, coefficient, slots)
}

func connectModel(model string, o *offer, n byte, coefficient, slots int32) msg {
	flags := int32(1)
	if o != nil {
		flags = 3
	}
	return boxed(workerConnect).i32(flags).str(address(n).Friendly(false)).str(model).i32(coefficient).yes(true).i32(1).i32(slots).versions(o)
}

// proxyParams reads a bare proxy.params and returns the version that was picked.
func proxyParams(r *rd) (version int32) {
	flags := r.i32()
	r.int256()
	r.str()
	r.str()
	if flags&1 != 0 {
		r.yes()
	}
	if flags&2 != 0 {
		version = r.i32()
	}
	return version
}

// payment reads a boxed proxy.SignedPayment.
func payment(r *rd) []byte {
	if r.id() == paymentEmpty {
		return nil
	}
	return []byte(r.str())
}

// shaken makes the client's handshake at a version.
func (p *peer) shaken(o *offer) (version int32) {
	p.t.Helper()
	r := p.must(connectClient(o, 1), clientConnected)
	version = proxyParams(r)
	r.str()
	r.expect(authShort)
	r.int256()
	r.i64()
	payment(r)
	r.end()
	r = p.must(boxed(authorizeShort).str(""), authorized)
	payment(r)
	r.i64()
	r.i64()
	r.end()
	return version
}

// enlisted makes the worker's handshake.
func (p *peer) enlisted(connect msg) (version int32) {
	p.t.Helper()
	r := p.must(connect, workerConnected)
	version = proxyParams(r)
	r.str()
	r.end()
	r = p.must(boxed(workerCompare).i64(0).i64(0).i64(0), workerCompared)
	payment(r)
	r.i64()
	r.i64()
	if code := r.i32(); code != 0 {
		p.t.Fatalf("compare answers %d", code)
	}
	r.end()
	p.must(boxed(workerComplete).yes(false), workerCompleted).end()
	return version
}

// client and worker join a network and shake hands.
func (n *network) client(o *offer, notes *transcript) (*peer, int32) {
	n.Helper()
	p := n.join(n.proxy.ServeClient, proxy.Peer{Key: [32]byte{7}}, notes)
	return p, p.shaken(o)
}

func (n *network) worker(o *offer, id byte, slots int32, notes *transcript) (*peer, int32) {
	n.Helper()
	p := n.join(n.proxy.ServeWorker, proxy.Peer{Key: [32]byte{id}, Attested: true, Image: [32]byte{0xe5}}, notes)
	return p, p.enlisted(connectWorker(o, id, 1000, slots))
}

// post is an http.request.
func post(path, body string) msg {
	return boxed(httpRequest).str("POST").str(path).str("HTTP/1.0").i32(1).str("Content-Type").str("application/json").str(body)
}

// ask is what a client asks for; a zero field has an ordinary value.
type question struct {
	id                     int
	body, model            string
	coefficient, maxTokens int32
	timeout                float64
	key                    *[32]byte
	query                  msg
}

// run is the request in the form of a version.
func (q question) run(version int32) msg {
	if q.body == "" {
		q.body = chat
	}
	if q.query == nil {
		q.query = post("/v1/chat/completions", q.body)
	}
	if q.model == "" {
		q.model = base
	}
	if q.timeout == 0 {
		q.timeout = 114
	}
	m := boxed(clientRunQueryEx)
	if version == 0 {
		m = boxed(clientRunQuery)
	}
	m = m.str(q.model).bin(q.query).i32(q.coefficient).i32(q.maxTokens).f64(q.timeout).raw(named(q.id)...).i32(1)
	switch {
	case version == 0:
		return m
	case q.key != nil:
		return m.i32(3).yes(true).raw(q.key[:]...)
	}
	return m.i32(1).yes(true)
}

// named is the id of a request, by its number.
func named(id int) []byte { return msg(nil).i32(int32(id)).raw(make([]byte, 28)...) }

// good is an ordinary question.
func good(id int, body string) question {
	return question{id: id, body: body, coefficient: 4000, maxTokens: 100}
}

// order is a request as a worker gets it.
type order struct {
	id          [32]byte
	path, body  string
	coefficient int64
	timeout     float64
	key         *[32]byte
}

// order waits for the next one.
func (p *peer) order() order {
	p.t.Helper()
	id, r := p.hearing(proxyRunQuery, proxyRunQueryEx)
	inner := &rd{p.t, []byte(r.str())}
	payment(r)
	var o order
	o.coefficient, o.timeout, o.id = r.i64(), r.f64(), r.int256()
	if id == proxyRunQueryEx {
		flags := r.i32()
		if flags&1 != 0 {
			r.yes()
		}
		if flags&2 != 0 {
			key := r.int256()
			o.key = &key
		}
	}
	r.end()
	inner.expect(httpRequest)
	inner.str()
	o.path = inner.str()
	inner.str()
	for range inner.i32() {
		inner.str()
		inner.str()
	}
	o.body = inner.str()
	inner.end()
	return o
}

// response is an http.response.
func response(status int32, kind, body string) msg {
	return boxed(httpResponse).str("HTTP/1.1").i32(status).str("OK").i32(2).str("Content-Type").str(kind).str("Content-Length").str("12").str(body)
}

// finalInfo is a bare proxy.queryFinalInfo.
func (m msg) finalInfo(version int32, u tokens) msg {
	if version >= 2 {
		return m.i32(2).tokens(u).f64(1.5).f64(2.5)
	}
	return m.i32(0).tokens(u)
}

// begin sends the head of an answer; u ends it.
func (p *peer) begin(version int32, o order, head msg, u *tokens) {
	if version == 0 {
		p.tell(boxed(proxyAnswer).bin(head).yes(u != nil).raw(o.id[:]...).tokens(orNone(u)))
		return
	}
	m := boxed(proxyAnswerEx).raw(o.id[:]...).bin(head)
	p.tell(m.end(version, u))
}

// part sends more of the body; u ends it.
func (p *peer) part(version int32, o order, body string, u *tokens) {
	if version == 0 {
		p.tell(boxed(proxyPart).str(body).yes(u != nil).raw(o.id[:]...).tokens(orNone(u)))
		return
	}
	p.tell(boxed(proxyPartEx).raw(o.id[:]...).str(body).end(version, u))
}

func (m msg) end(version int32, u *tokens) msg {
	if u == nil {
		return m.i32(0)
	}
	return m.i32(1).finalInfo(version, *u)
}

func orNone(u *tokens) tokens {
	if u == nil {
		return tokens{}
	}
	return *u
}

// usage is what a worker of a version reports for 34 tokens and 40.
func usage(version int32) *tokens {
	if version >= 5 {
		return &tokens{34, 11, 40, 10, 74}
	}
	return &tokens{23, 11, 30, 10, 74}
}

// reply is an answer as a client collects it.
type reply struct {
	status  int32
	head    map[string]string
	body    string
	code    int32
	text    string
	used    tokens
	begun   bool
	final   bool // final_info, or the completed flag
	times   bool
	message string // the form of the last message
}

// collect reads the messages of one request until its last.
func (p *peer) collect(id int) (out reply) {
	want := [32]byte(named(id))
	p.t.Helper()
	for {
		kind, r := p.hearing(clientAnswer, clientPart, clientError, clientPartErr, clientAnswerEx, clientPartEx, clientErrorEx)
		m := out
		name := m.message
		switch kind {
		case clientAnswerEx, clientPartEx, clientErrorEx:
			at := r.int256()
			if kind == clientErrorEx {
				m.code, m.text = r.i32(), r.str()
			} else {
				m.take(kind == clientAnswerEx, r)
			}
			m.info(r)
			if at != want {
				continue
			}
		case clientAnswer, clientPart:
			m.take(kind == clientAnswer, r)
			m.final = r.yes()
			if at := r.int256(); at != want {
				continue
			}
			m.used = r.tokens()
		default:
			m.code, m.text = r.i32(), r.str()
			if at := r.int256(); at != want {
				continue
			}
			m.used, m.final = r.tokens(), true
		}
		r.end()
		_ = name
		m.message = names()[kind]
		if out = m; out.final {
			return out
		}
	}
}

// take reads a head or a part.
func (m *reply) take(head bool, r *rd) {
	data := r.str()
	if !head {
		m.body += data
		return
	}
	if m.begun {
		r.t.Fatal("two heads")
	}
	h := (&rd{r.t, []byte(data)}).expect(httpResponse)
	h.str()
	m.status, m.begun, m.head = h.i32(), true, make(map[string]string)
	h.str()
	for range h.i32() {
		name := strings.ToLower(h.str())
		m.head[name] = h.str()
	}
	m.body = h.str()
	h.end()
}

// info reads the flags and the final_info behind them.
func (m *reply) info(r *rd) {
	if r.i32()&1 == 0 {
		return
	}
	flags := r.i32()
	m.final, m.used, m.times = true, r.tokens(), flags&2 != 0
	if flags&1 != 0 {
		r.str()
		r.str()
	}
	if m.times {
		for range 4 {
			r.f64()
		}
	}
}

// serve answers every order of a worker by a play, until its connection ends.
func (n *network) serve(p *peer, play func(o order)) {
	n.running.Go(func() {
		for f := range p.frames {
			if hex.EncodeToString(f[:4]) != tcpPacket {
				continue
			}
			r := &rd{p.t, f}
			r.id()
			inner := []byte(r.str())
			if id := hex.EncodeToString(inner[:4]); id == proxyRunQuery || id == proxyRunQueryEx {
				p.packets = append(p.packets, inner)
				play(p.order())
			}
		}
	})
}
