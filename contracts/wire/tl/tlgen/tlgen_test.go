package tlgen

import (
	"strings"
	"testing"
)

// TestSchemasThatAreRefused: a mistake in the schema is found when it is read, with its line.
func TestSchemasThatAreRefused(t *testing.T) {
	for name, tc := range map[string]struct{ in, want string }{
		"no result":        {"a.b x:int;", "is not NAME FIELDS = RESULT"},
		"no semicolon":     {"a.b x:int = a.B", "is not NAME FIELDS = RESULT"},
		"no type":          {"a.b x = a.B;", "is not NAME:TYPE"},
		"bad id":           {"a.b#zz x:int = a.B;", "id of a.b"},
		"unknown type":     {"a.b x:a.c = a.B;", "a.b.x: type a.c does not exist"},
		"flag of no word":  {"a.b x:flags.0?int = a.B;", "without a flags word"},
		"flag too large":   {"a.b flags:# x:flags.32?int = a.B;", "no flag bit"},
		"optional vector":  {"a.b flags:# x:flags.0?vector int = a.B;", "or on a vector"},
		"an id given once": {"// comment\na.b#00000001 = a.B;\na.c#00000001 = a.C;", "schema line 3: a.c has the id of a.b"},
	} {
		if _, err := Read([]byte(tc.in)); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v, want an error about %q", name, err, tc.want)
		}
	}
}

// TestIDs: an id is the CRC-32 of the line without what pins it (protocol.md section 3, its example).
func TestIDs(t *testing.T) {
	all, err := Read([]byte("tcp.ping id:long = tcp.Packet;\n---functions---\na.f v:vector tcp.ping w:int = tcp.Packet;"))
	if err != nil || len(all) != 2 || all[0].ID != 0xbbe9627c || all[0].Function || !all[1].Function || !all[1].Fields[0].Vector {
		t.Errorf("%+v, %v", all, err)
	}
}

func TestGoNames(t *testing.T) {
	for in, want := range map[string]string{
		"client.runQueryEx": "ClientRunQueryEx", "tcp.ping": "TCPPing", "proxyDb.oldClient": "ProxyDBOldClient", "request_id": "RequestID",
		"proxy_sc_address": "ProxySCAddress", "machine_description_json": "MachineDescriptionJSON", "tokensUsed": "TokensUsed",
	} {
		if got := GoName(in); got != want {
			t.Errorf("%s: %s, want %s", in, got, want)
		}
	}
}
