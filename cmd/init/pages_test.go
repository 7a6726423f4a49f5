package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"cocoon/contracts/api/stats"
	"cocoon/guest/boot"
	"cocoon/measure/tdx"
)

// both serves a role's two ports as one: what only the surface has is asked of it, the rest of the operators' port.
func both(t *testing.T, p *rolePages) http.Handler {
	t.Helper()
	surface, err := stats.NewSurface(p.views, p.log)
	if err != nil {
		t.Fatal(err)
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if surface.Paths()[r.URL.Path] != nil {
			surface.Handler().ServeHTTP(w, r)
			return
		}
		p.operators().ServeHTTP(w, r)
	})
}

func TestOrdersNeedTheirTokenAndAreLogged(t *testing.T) {
	var log bytes.Buffer
	got := ""
	p := &rolePages{access: "secret", log: slog.New(slog.NewTextHandler(&log, nil)), orders: map[string]order{
		"set": func(parameter func(string) string) error {
			if got = parameter("v"); got == "bad" {
				return errors.New("v is bad")
			}
			return nil
		},
	}}
	type ask struct{ method, path, token, origin, kind, body string }
	const form, doc = "application/x-www-form-urlencoded", "application/json"
	for name, tc := range map[string]struct {
		ask
		code int
		v    string
	}{
		"no token":          {ask{"POST", "/admin/set", "", "", form, "v=1"}, 401, ""},
		"wrong token":       {ask{"POST", "/admin/set", "Secret", "", form, "v=1"}, 401, ""},
		"token in the URL":  {ask{"POST", "/admin/set?access_hash=secret", "", "", form, "v=1"}, 401, ""},
		"from a page":       {ask{"POST", "/admin/set", "secret", "http://127.0.0.1:11000", form, "v=1"}, 403, ""},
		"by GET":            {ask{"GET", "/admin/set", "secret", "", "", ""}, 405, ""},
		"unknown":           {ask{"POST", "/admin/reset", "secret", "", form, ""}, 404, ""},
		"elsewhere":         {ask{"POST", "/set", "secret", "", form, "v=1"}, 404, ""},
		"form":              {ask{"POST", "/admin/set", "secret", "", form, "v=1"}, 200, "1"},
		"JSON":              {ask{"POST", "/admin/set", "secret", "", doc, `{"v":"2"}`}, 200, "2"},
		"JSON number":       {ask{"POST", "/admin/set", "secret", "", doc, `{"v":2.5}`}, 200, "2.5"},
		"old name":          {ask{"POST", "/request/set", "secret", "", form, "v=3"}, 200, "3"},
		"value in the URL":  {ask{"POST", "/request/set?v=4", "secret", "", form, ""}, 200, ""},
		"refused":           {ask{"POST", "/admin/set", "secret", "", form, "v=bad"}, 400, "bad"},
		"broken JSON":       {ask{"POST", "/admin/set", "secret", "", doc, `{`}, 400, ""},
		"too much":          {ask{"POST", "/admin/set", "secret", "", doc, `{"v":"` + strings.Repeat("x", maxOrder) + `"}`}, 400, ""},
		"perf":              {ask{"GET", "/perf", "secret", "", "", ""}, 200, ""},
		"perf for everyone": {ask{"GET", "/perf", "", "", "", ""}, 401, ""},
	} {
		t.Run(name, func(t *testing.T) {
			got = ""
			log.Reset()
			r := httptest.NewRequestWithContext(t.Context(), tc.method, tc.path, strings.NewReader(tc.body))
			r.Header.Set("Authorization", "Bearer "+tc.token)
			r.Header.Set("Content-Type", tc.kind)
			if tc.origin != "" {
				r.Header.Set("Origin", tc.origin)
			}
			w := httptest.NewRecorder()
			p.operators().ServeHTTP(w, r)
			if w.Code != tc.code || got != tc.v {
				t.Errorf("%d, v is %q, %s", w.Code, got, w.Body)
			}
			if told := log.Len() > 0; told != (tc.method == "POST" && (tc.code == 200 || tc.code == 400)) {
				t.Errorf("the log says %q", log.String())
			}
			if strings.Contains(log.String()+w.Body.String(), "secret") {
				t.Error("the token is shown")
			}
		})
	}
	closed := httptest.NewRecorder()
	r := httptest.NewRequestWithContext(t.Context(), "POST", "/admin/set", nil)
	r.Header.Set("Authorization", "Bearer ")
	if (&rolePages{orders: p.orders, log: p.log}).operators().ServeHTTP(closed, r); closed.Code != 401 {
		t.Errorf("without a token in the configuration: %d", closed.Code)
	}
}

func TestThePageTellsOfItsMachine(t *testing.T) {
	name := filepath.Join(t.TempDir(), "boot.json")
	raw, err := json.Marshal(boot.Document{Stages: []boot.Status{
		{Stage: "model", Status: boot.OK, DurationMS: 1500}, {Stage: "gpu", Status: boot.Skipped, Reason: "<none>"}, {Stage: "seal", Status: boot.Failed, Error: "no answer"},
	}})
	if err == nil {
		err = os.WriteFile(name, raw, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	ineligible := errors.New("image is not in root version 3")
	for what, tc := range map[string]struct {
		self          self
		image, listed string
		health        stats.Health
		tables        int
	}{
		"no TD":        {self{}, "no evidence in this process", "", "", 0},
		"no root":      {self{image: strings.Repeat("ab", 32), measurements: new(tdx.Measurements)}, "ababababab…ababab", "no root is followed", "", 1},
		"listed":       {self{image: "ab", eligible: func() error { return nil }}, "ab", "in the root contract", stats.Good, 0},
		"not listed":   {self{image: "ab", eligible: func() error { return ineligible }, boot: name}, "ab", "not eligible", stats.Bad, 1},
		"no boot file": {self{image: "ab", boot: name + ".not"}, "ab", "no root is followed", "", 0},
	} {
		t.Run(what, func(t *testing.T) {
			p := tc.self.page(stats.Page{})
			if image, listed := p.Identity[0], p.Identity[1]; image.Value != tc.image || listed.Value != tc.listed || listed.Health != tc.health || len(p.Tables) != tc.tables {
				t.Errorf("%+v, %+v, %d tables", image, listed, len(p.Tables))
			}
		})
	}
	p := (&self{simulated: true, boot: name}).page(stats.Page{Notice: "Test network."})
	if !strings.HasPrefix(p.Notice, "SIMULATED TDX") || !strings.HasSuffix(p.Notice, "Test network.") {
		t.Errorf("notice %q", p.Notice)
	}
	if rows := p.Tables[0].Rows; len(rows) != 3 || rows[0][2].Text != "1.5 s" || rows[1][3].Text != "<none>" || rows[2][1].Health != stats.Bad {
		t.Errorf("boot %+v", rows)
	}
	doc := (&self{image: "ab"}).json(map[string]any{"status": map[string]any{}})
	if status, _ := doc["status"].(map[string]any); status["actual_image_hash"] != "ab" {
		t.Errorf("%v", doc)
	}
}

func TestStatusPortsOpenAndClose(t *testing.T) {
	p := &rolePages{access: "secret", log: slog.New(slog.DiscardHandler), views: stats.Views{
		Page: func() stats.Page { return stats.Page{} }, JSON: func() any { return nil }, Metrics: func(io.Writer) {}, Ready: func() stats.Readiness { return stats.Readiness{} },
	}}
	if err := p.serve(t.Context(), 65530); err == nil || !strings.Contains(err.Error(), "listening for status") {
		t.Errorf("a port above all others: %v", err)
	}
	p.views.Page = nil
	if err := p.serve(t.Context(), 0); err == nil {
		t.Error("pages without a page")
	}
}
