package wheel

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"testing"
)

func FuzzParseName(f *testing.F) {
	for _, s := range []string{
		"torch-2.10.0-cp313-cp313-manylinux_2_28_x86_64.whl", "a-1-py3-none-any.whl", "a-1-2-py3-none-any.whl", "-----.whl",
		"a-1-py3.py2-none-any.whl", "a-1-cp3-abi3-manylinux_2__x86_64.whl", ".whl",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, file string) {
		n, err := ParseName(file)
		if err != nil {
			return
		}
		parts := []string{n.Project, n.Version}
		if n.Build != "" {
			parts = append(parts, n.Build)
		}
		parts = append(parts, strings.Join(n.Python, "."), strings.Join(n.ABI, "."), strings.Join(n.Platform, "."))
		if again := strings.Join(parts, "-") + ".whl"; again != file && n.Build != "" || strings.Contains(file, "/") {
			t.Errorf("%q was read as %+v, which is %q", file, n, again)
		}
		_ = n.Accepts(Interpreter{13, 41}) // must not panic
	})
}

func FuzzParseEntryPoints(f *testing.F) {
	for _, s := range []string{
		"[console_scripts]\na = b:c\n", "[gui_scripts]\na=b.c:d.e [x]\n", "[console_scripts]\n a = b:c;import os\n", "[x]\n= = =\n", "a = b:c",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		launchers, err := parseEntryPoints(data)
		if err != nil {
			return
		}
		for i, l := range launchers {
			if strings.ContainsAny(l.Name, "/ \n") || strings.ContainsAny(l.Module+l.Attr, " \n;()") {
				t.Errorf("launcher %+v", l)
			}
			if i > 0 && launchers[i-1].Name >= l.Name {
				t.Errorf("%q comes after %q", l.Name, launchers[i-1].Name)
			}
		}
	})
}

func FuzzParseRecord(f *testing.F) {
	for _, s := range []string{
		"a.py,sha256=47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU,0\n", "a/RECORD,,\n", "\"a,b.py\",,1\n", "a,md5=x,1\n", "a,b\n", "a,,-1\n",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		record, err := parseRecord(data)
		if err != nil {
			return
		}
		for p, r := range record {
			if r.size < -1 || r.sha256 != "" && !sha256Rule.MatchString(r.sha256) {
				t.Errorf("%q: %+v", p, r)
			}
		}
	})
}

func FuzzFromReport(f *testing.F) {
	f.Add(fmt.Appendf(nil, testReport, sum("1"), sum("2")))
	for _, s := range []string{"", "{}", `{"version":"1"}`, `{"version":"1","install":[{}]}`, `{"version":"1","install":[{"download_info":{"url":"%zz"}}]}`} {
		f.Add([]byte(s))
	}
	size := func(context.Context, string) (int64, error) { return 1, nil }
	f.Fuzz(func(t *testing.T, data []byte) {
		l, err := FromReport(t.Context(), data, Interpreter{13, 41}, size)
		if err != nil {
			return
		}
		if _, err := l.Encode(); err != nil {
			t.Errorf("a list that cannot be written: %v", err)
		}
	})
}

func FuzzLinks(f *testing.F) {
	f.Add(fmt.Appendf(nil, page, sum("1"), sum("2")))
	for _, s := range []string{"<a href=x>", "<a href=\"\">", "<a\nhref='&amp;'>", "<a <a href=\"y\"", strings.Repeat("<a ", 100)} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if n, most := len(links(data)), bytes.Count(bytes.ToLower(data), []byte("<a")); n > most {
			t.Errorf("%d links in %d anchors", n, most)
		}
	})
}
