package dcap_test

import (
	"testing"

	"cocoon/measure/tdx"
)

func TestScenesVerify(t *testing.T) {
	for name, edit := range map[string]func(s *scene){
		"v4 TD":     func(*scene) {},
		"v5 TD 1.0": func(s *scene) { s.version = 5 },
		"v5 TD 1.5": func(s *scene) { s.version, s.td.Service = 5, &tdx.ServiceTD{MRServiceTD: tdx.Digest{9}} },
	} {
		s := newScene(t, tdx.TDX)
		edit(s)
		r, err := s.build(t).verify()
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		t.Logf("%s: %+v", name, r)
	}
	for name, edit := range map[string]func(s *scene){
		"v3": func(*scene) {},
		"v4": func(s *scene) { s.version = 4 },
		"v5": func(s *scene) { s.version = 5 },
	} {
		s := newScene(t, tdx.SGX)
		edit(s)
		r, err := s.build(t).verify()
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		t.Logf("%s: %+v", name, r)
	}
}
