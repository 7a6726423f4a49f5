package conformance

import (
	"encoding/binary"
	"encoding/hex"
	"math"
	"testing"
)

// Ids as they stand on the wire, protocol.md sections 3.1, 3.2 and 3.5.
const (
	tcpPing, tcpPong           = "7c62e9bb", "2c30d40b"
	tcpConnect, tcpConnected   = "61427ca5", "d6416d63"
	tcpQuery, tcpPacket        = "0819f53a", "f8ba179c"
	tcpAnswer, tcpError        = "11c348c0", "02f6d24c"
	boolTrue, boolFalse        = "b5757299", "379779bc"
	paymentEmpty, paymentData  = "64ce47b3", "82819902"
	httpRequest, httpResponse  = "e52d4947", "2bc4d01c"
	clientConnect              = "f4a05fff"
	clientConnected            = "d17a3195"
	authShort, authLong        = "afc5ffd6", "16f07b41"
	authorizeShort             = "2367276c"
	authorizeLong              = "034347d3"
	authorized                 = "34acd575"
	getWorkerTypes             = "db2b067f"
	getWorkerTypesV2           = "723d13b2"
	workerTypesV2              = "67dcf00c"
	clientUpdateStatus         = "97c6d19e"
	clientStatus               = "cc0e8aaa"
	clientRefund               = "3d868d23"
	clientRunQuery             = "328f74bc"
	clientRunQueryEx           = "4bb74cf5"
	clientAnswer, clientPart   = "2239949b", "4cde65b7"
	clientError, clientPartErr = "9a56606d", "22a090d7"
	clientAnswerEx             = "204752cd"
	clientPartEx               = "ecfa7bc0"
	clientErrorEx              = "a8622507"
	clientPayment              = "27f1bcc6"
	clientCancel               = "f8a56532"
	clientReceipt              = "1cbc7ba0"
	clientCredit               = "0af3378d"
	clientGetSession           = "8b872fb4"
	clientSession              = "949b3522"
	workerConnect              = "5d4c48cc"
	workerConnected            = "ee82bc66"
	workerCompare              = "016538db"
	workerCompared             = "11c45490"
	workerCompareMore          = "1499ddf8"
	workerComparedMore         = "3e97100c"
	workerComplete             = "66b043f8"
	workerCompleted            = "86b8d93a"
	workerDisabled             = "3910b7b3"
	workerCoefficient          = "b092f06a"
	workerUpdateStatus         = "24a570dc"
	workerStatus               = "01d78ba8"
	workerChangeModel          = "ee2c6672"
	proxyRunQuery              = "16241847"
	proxyRunQueryEx            = "e2e705c8"
	proxyAnswer, proxyPart     = "25f7e537", "ee00eb72"
	proxyError, proxyPartErr   = "4e019d66", "68110e94"
	proxyAnswerEx              = "e874e51c"
	proxyPartEx                = "0fb5856d"
	proxyErrorEx               = "a7b07f8f"
	proxyPayment               = "d5c03614"
	proxyCancel                = "68e6d78c"
	proxyStatement             = "17ef235b"
	proxyCredit                = "301a7f4c"
	getProxyKeysApr            = "bdd03541"
	getProxyKeysDec            = "dec2a947"
	privateKeys                = "e56cd60e"
)

// names are for comments and failures.
func names() map[string]string {
	return map[string]string{
		tcpPing: "tcp.ping", tcpPong: "tcp.pong", tcpConnect: "tcp.connect", tcpConnected: "tcp.connected", tcpQuery: "tcp.query",
		tcpPacket: "tcp.packet", tcpAnswer: "tcp.queryAnswer", tcpError: "tcp.queryError",
		httpRequest: "http.request", httpResponse: "http.response",
		clientConnect: "client.connectToProxy", clientConnected: "client.connectedToProxy", authorizeShort: "client.authorizeWithProxyShort",
		authorizeLong: "client.authorizeWithProxyLong", authorized: "client.authorizationWithProxySuccess",
		getWorkerTypes: "client.getWorkerTypes", getWorkerTypesV2: "client.getWorkerTypesV2", workerTypesV2: "client.workerTypesV2",
		clientUpdateStatus: "client.updatePaymentStatus", clientStatus: "client.paymentStatus", clientRefund: "client.requestRefund",
		clientRunQuery: "client.runQuery", clientRunQueryEx: "client.runQueryEx", clientAnswer: "client.queryAnswer",
		clientPart: "client.queryAnswerPart", clientError: "client.queryAnswerError", clientPartErr: "client.queryAnswerPartError",
		clientAnswerEx: "client.queryAnswerEx", clientPartEx: "client.queryAnswerPartEx", clientErrorEx: "client.queryAnswerErrorEx",
		clientPayment: "proxy.clientRequestPayment", clientCancel: "client.cancelQuery", clientReceipt: "client.queryReceipt",
		clientCredit: "client.queryCredit", clientGetSession: "client.getSession", clientSession: "client.session",
		workerConnect: "worker.connectToProxy", workerConnected: "worker.connectedToProxy", workerCompare: "worker.compareBalanceWithProxy",
		workerCompared: "worker.compareBalanceWithProxyResult", workerCompareMore: "worker.extendedCompareBalanceWithProxy",
		workerComparedMore: "worker.extendedCompareBalanceWithProxyResult", workerComplete: "worker.proxyHandshakeComplete",
		workerCompleted: "worker.proxyHandshakeCompleted", workerDisabled: "worker.enabledDisabled", workerCoefficient: "worker.newCoefficient",
		workerUpdateStatus: "worker.updatePaymentStatus", workerStatus: "worker.paymentStatus", workerChangeModel: "worker.changeModel",
		proxyRunQuery: "proxy.runQuery", proxyRunQueryEx: "proxy.runQueryEx", proxyAnswer: "proxy.queryAnswer", proxyPart: "proxy.queryAnswerPart",
		proxyError: "proxy.queryAnswerError", proxyPartErr: "proxy.queryAnswerPartError", proxyAnswerEx: "proxy.queryAnswerEx", proxyPartEx: "proxy.queryAnswerPartEx",
		proxyErrorEx: "proxy.queryAnswerErrorEx", proxyPayment: "proxy.workerRequestPayment", proxyCancel: "proxy.cancelQuery",
		proxyStatement: "proxy.queryStatement", proxyCredit: "proxy.queryCredit", getProxyKeysApr: "keyManager.getProxyPrivateKeys",
		getProxyKeysDec: "keyManager.getProxyPrivateKeys (Dec)", privateKeys: "keyManager.privateKeys",
	}
}

// msg is TL bytes under construction.
type msg []byte

// boxed begins a value with its id.
func boxed(id string) msg {
	raw, err := hex.DecodeString(id)
	if err != nil || len(raw) != 4 {
		return msg("no id: " + id) // which the tables' test finds
	}
	return raw
}

func (m msg) i32(v int32) msg { return binary.LittleEndian.AppendUint32(m, uint32(v)) }
func (m msg) i64(v int64) msg { return binary.LittleEndian.AppendUint64(m, uint64(v)) }
func (m msg) f64(v float64) msg {
	return binary.LittleEndian.AppendUint64(m, math.Float64bits(v))
}

func (m msg) yes(v bool) msg {
	if v {
		return append(m, boxed(boolTrue)...)
	}
	return append(m, boxed(boolFalse)...)
}

func (m msg) raw(b ...byte) msg { return append(m, b...) }

func (m msg) str(s string) msg {
	start := len(m)
	if len(s) < 254 {
		m = append(m, byte(len(s)))
	} else {
		m = append(m, 0xfe, byte(len(s)), byte(len(s)>>8), byte(len(s)>>16))
	}
	m = append(m, s...)
	for (len(m)-start)%4 != 0 {
		m = append(m, 0)
	}
	return m
}

func (m msg) bin(b []byte) msg { return m.str(string(b)) }

// rd reads TL bytes; what does not fit fails the test.
type rd struct {
	t testing.TB
	b []byte
}

func (r *rd) take(n int) []byte {
	r.t.Helper()
	if n > len(r.b) {
		r.t.Fatalf("%d bytes wanted of %x", n, r.b)
	}
	out := r.b[:n]
	r.b = r.b[n:]
	return out
}

func (r *rd) id() string   { r.t.Helper(); return hex.EncodeToString(r.take(4)) }
func (r *rd) i32() int32   { r.t.Helper(); return int32(binary.LittleEndian.Uint32(r.take(4))) }
func (r *rd) i64() int64   { r.t.Helper(); return int64(binary.LittleEndian.Uint64(r.take(8))) }
func (r *rd) f64() float64 { r.t.Helper(); return math.Float64frombits(uint64(r.i64())) }

func (r *rd) yes() bool {
	r.t.Helper()
	switch id := r.id(); id {
	case boolTrue:
		return true
	case boolFalse:
		return false
	default:
		r.t.Fatalf("%s is no Bool", id)
		return false
	}
}

func (r *rd) str() string {
	r.t.Helper()
	n, head := int(r.take(1)[0]), 1
	if n == 0xfe {
		b := r.take(3)
		n, head = int(b[0])|int(b[1])<<8|int(b[2])<<16, 4
	}
	out := string(r.take(n))
	r.take(-(head + n) & 3)
	return out
}

func (r *rd) int256() (out [32]byte) { r.t.Helper(); copy(out[:], r.take(32)); return out }

func (r *rd) end() {
	r.t.Helper()
	if len(r.b) > 0 {
		r.t.Fatalf("%d bytes behind the end: %x", len(r.b), r.b)
	}
}

// expect reads an id that must be the given one.
func (r *rd) expect(id string) *rd {
	r.t.Helper()
	if got := r.id(); got != id {
		r.t.Fatalf("got %s %s, want %s", got, names()[got], names()[id])
	}
	return r
}

// tokens is a tokensUsed.
type tokens struct{ prompt, cached, completion, reasoning, total int64 }

func (m msg) tokens(u tokens) msg {
	return m.i64(u.prompt).i64(u.cached).i64(u.completion).i64(u.reasoning).i64(u.total)
}

func (r *rd) tokens() tokens {
	r.t.Helper()
	return tokens{r.i64(), r.i64(), r.i64(), r.i64(), r.i64()}
}
