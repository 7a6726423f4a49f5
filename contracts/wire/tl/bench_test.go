package tl

import "testing"

// samplesOfTraffic are messages as most frames carry them.
func samplesOfTraffic() map[string]Object {
	return map[string]Object{
		"part": &ClientQueryAnswerPartEx{Answer: make([]byte, 200)},
		"end": &ClientQueryAnswerPartEx{Answer: make([]byte, 20), FinalInfo: &ClientQueryFinalInfo{
			WorkerDebug: new("{}"), ProxyDebug: new("{}"), ProxyStartTime: new(1.0), ProxyEndTime: new(2.0), WorkerStartTime: new(1.0), WorkerEndTime: new(2.0),
		}},
		"question": &ClientRunQueryEx{ModelName: "model", Query: make([]byte, 1200)},
		"request": &HTTPRequest{
			Method: "POST", URL: "/v1/chat/completions", HTTPVersion: "HTTP/1.1", Payload: make([]byte, 1000),
			Headers: []HTTPHeader{{"Content-Type", "application/json"}, {"Content-Length", "1000"}},
		},
		"long request": &HTTPRequest{Method: "POST", URL: "/v1/chat/completions", HTTPVersion: "HTTP/1.1", Payload: make([]byte, 64<<10)},
	}
}

// TestReadingTakesLittleMemory: a value, its bytes, what its flags announce together; nothing for the reader and for strings
// that every message has.
func TestReadingTakesLittleMemory(t *testing.T) {
	all := samplesOfTraffic()
	for name, most := range map[string]float64{"part": 2, "end": 7, "question": 3, "request": 5, "long request": 2} {
		raw := Encode(all[name])
		got := testing.AllocsPerRun(100, func() {
			if _, err := Parse(raw); err != nil {
				t.Error(err)
			}
		})
		if got > most {
			t.Errorf("%s: %.0f allocations, at most %.0f", name, got, most)
		}
	}
}

func BenchmarkParse(b *testing.B) { benchmarkReading(b, Parse) }

func BenchmarkView(b *testing.B) { benchmarkReading(b, View) }

func benchmarkReading(b *testing.B, read func([]byte) (Object, error)) {
	b.Helper()
	for name, m := range samplesOfTraffic() {
		raw := Encode(m)
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := read(raw); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkEncode(b *testing.B) {
	for name, m := range samplesOfTraffic() {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				_ = Encode(m)
			}
		})
	}
}
