package conformance

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net"
	"strings"
	"testing"

	"cocoon/guest/proxy"
	"cocoon/tests/golden"
)

// wireForm is an id as it stands on the wire.
func wireForm(t *testing.T, id string) string {
	t.Helper()
	raw, err := hex.DecodeString(id)
	if err != nil || len(raw) != 4 {
		t.Fatalf("%q is no id", id)
	}
	return fmt.Sprintf("%08x", binary.LittleEndian.Uint32(raw))
}

// TestTheScriptsIdsAreTheTables: every id that the scripts write is the one that the vectors give to its name.
func TestTheScriptsIdsAreTheTables(t *testing.T) {
	known := make(map[string]string)
	var schema map[string][]struct{ Name, ID string }
	golden.JSON(t, "protocol/tl_schema.json", &schema)
	for generation, rows := range schema {
		for _, r := range rows {
			name := r.Name
			if generation == "dec2025" && name == "keyManager.getProxyPrivateKeys" {
				name += " (Dec)"
			}
			known[wireForm(t, r.ID)] = name
		}
	}
	var extensions struct {
		Rows []struct{ Line, ID string }
	}
	golden.JSON(t, "inference/tl_extensions.json", &extensions)
	for _, r := range extensions.Rows {
		known[wireForm(t, strings.TrimPrefix(r.ID, "0x"))] = strings.Fields(r.Line)[0]
	}
	known[clientCancel], known[proxyCancel] = "client.cancelQuery", "proxy.cancelQuery" // protocol.md section 3.5
	for id, name := range names() {
		if known[id] != name {
			t.Errorf("%s is %q, the tables say %q", id, name, known[id])
		}
	}
}

// TestTheFrameOfTheVectors: the first frame of every session, as the vectors have it, makes our proxy ready.
func TestTheFrameOfTheVectors(t *testing.T) {
	var v struct {
		Encodings []struct{ Kind, Hex string }
	}
	golden.JSON(t, "protocol/tl_encodings.json", &v)
	for _, e := range v.Encodings {
		if e.Kind != "frame" {
			continue
		}
		within(t, func(n *network) {
			near, far := net.Pipe()
			n.ends = append(n.ends, func() { _ = near.Close() })
			n.running.Go(func() { n.served <- n.proxy.ServeClient(n.ctx, far, proxy.Peer{}) })
			p := newPeer(t, near, nil)
			if _, err := near.Write(golden.Hex(t, e.Hex)); err != nil {
				t.Fatal(err)
			}
			if id := p.payload(tcpConnected).i64(); id != 0x1122334455667788 {
				t.Errorf("tcp.connected echoes %x", id)
			}
		})
	}
}

// TestTheScriptsBytesAreTheVectors: the scripts' own encoder gives the sample encodings of protocol.md section 3.4.
func TestTheScriptsBytesAreTheVectors(t *testing.T) {
	const at = "EQCns7bYSp0igFvS1wpb5wsZjCKCV19MD5AVzI4EyxsnU73k"
	id := make([]byte, 32)
	for i := range id {
		id[i] = byte(i)
	}
	zero := make([]byte, 32)
	addr := "304551436e733762595370306967467653317770623577735a6a434b435631394d443541567a4934457978736e5537336b000000"
	connect := boxed(clientConnect).i32(3).str(at).yes(false).i32(1).i32(2).i32(7)
	for name, tc := range map[string]struct {
		got  msg
		want string
	}{
		"tcp.connect":           {boxed(tcpConnect).i64(0x1122334455667788), "61427ca58877665544332211"},
		"client.connectToProxy": {connect, "f4a05fff03000000" + addr + "379779bc010000000200000007000000"},
		"tcp.query":             {boxed(tcpQuery).i64(5).bin(connect), "0819f53a05000000000000004c" + hex.EncodeToString(connect) + "000000"},
		"worker.connectToProxy": {
			boxed(workerConnect).i32(3).str(at).str("m@c:h").i32(1000).yes(false).i32(1).i32(60).i32(1).i32(2),
			"5d4c48cc03000000" + addr + "056d40633a680000e8030000379779bc010000003c0000000100000002000000",
		},
		"client.runQueryEx": {
			boxed(clientRunQueryEx).str("m").bin([]byte{1, 2, 3}).i32(4000).i32(1000).f64(114).raw(id...).i32(7).i32(1).yes(true),
			"4bb74cf5016d000003010203a00f0000e80300000000000000805c40" + hex.EncodeToString(id) + "0700000001000000b5757299",
		},
		"proxy.runQueryEx": {
			boxed(proxyRunQueryEx).bin([]byte{1, 2, 3}).raw(boxed(paymentEmpty)...).i64(1000).f64(108.3).raw(id...).i32(1).yes(false),
			"e2e705c80301020364ce47b3e8030000000000003333333333135b40" + hex.EncodeToString(id) + "01000000379779bc",
		},
		"http.request": {
			boxed(httpRequest).str("POST").str("/v1/chat/completions").str("HTTP/1.1").i32(1).str("Content-Type").str("application/json").str("{}"),
			"e52d494704504f5354000000142f76312f636861742f636f6d706c6574696f6e7300000008485454502f312e31000000010000000c436f6e74656e742d54797065000000106170706c69636174696f6e2f6a736f6e000000027b7d00",
		},
		"client.queryAnswerPartEx": {
			boxed(clientPartEx).raw(zero...).str("x").i32(1).i32(2).tokens(tokens{1, 2, 3, 4, 10}).f64(1).f64(2).f64(1.5).f64(1.75),
			"ecfa7bc0" + hex.EncodeToString(zero) + "017800000100000002000000" + "01000000000000000200000000000000030000000000000004000000000000000a00000000000000" +
				"000000000000f03f0000000000000040000000000000f83f000000000000fc3f",
		},
		"client.workerTypesV2": {boxed(workerTypesV2).i32(1).str("m").i32(1).i32(0).i32(1000).i32(1).i32(60), "67dcf00c01000000016d00000100000000000000e8030000010000003c000000"},
		"client.cancelQuery":   {boxed(clientCancel).raw(zero...), "f8a56532" + hex.EncodeToString(zero)},
		"proxy.cancelQuery":    {boxed(proxyCancel).raw(zero...), "68e6d78c" + hex.EncodeToString(zero)},
	} {
		if got := hex.EncodeToString(tc.got); got != tc.want {
			t.Errorf("%s:\n%s, want\n%s", name, got, tc.want)
		}
	}
}
