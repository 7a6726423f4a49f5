package tl

import "testing"

// samplesOfTraffic are messages as most frames carry them.
func samplesOfTraffic() map[string]Object {
	return map[string]Object{
		"part":     &ClientQueryAnswerPartEx{Answer: make([]byte, 200)},
		"question": &ClientRunQueryEx{ModelName: "model", Query: make([]byte, 1200)},
		"request": &HTTPRequest{
			Method: "POST", URL: "/v1/chat/completions", HTTPVersion: "HTTP/1.1", Payload: make([]byte, 1000),
			Headers: []HTTPHeader{{"Content-Type", "application/json"}, {"Content-Length", "1000"}},
		},
		"long request": &HTTPRequest{Method: "POST", URL: "/v1/chat/completions", HTTPVersion: "HTTP/1.1", Payload: make([]byte, 64<<10)},
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
