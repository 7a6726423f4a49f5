package cli

import "slices"

// maxSuggestDistance is the number of edits within which a word counts as misspelt rather than different.
const maxSuggestDistance = 2

// Suggest returns the candidates closest to a misspelt word, nearest first, ties in alphabetical order.
func Suggest(word string, candidates []string) []string {
	type match struct {
		name string
		dist int
	}
	var found []match
	for _, c := range candidates {
		if d := distance(word, c); d <= maxSuggestDistance && d < len(c) {
			found = append(found, match{c, d})
		}
	}
	slices.SortFunc(found, func(a, b match) int {
		if a.dist != b.dist {
			return a.dist - b.dist
		}
		if a.name < b.name {
			return -1
		}
		return 1
	})
	out := make([]string, 0, len(found))
	for _, m := range found {
		out = append(out, m.name)
	}
	return out
}

// distance is the number of insertions, deletions, substitutions and swaps of neighbours that turn a into b
// (optimal string alignment).
func distance(a, b string) int {
	rows := [3][]int{}
	for i := range rows {
		rows[i] = make([]int, len(b)+1)
	}
	before, prev, cur := rows[0], rows[1], rows[2]
	for j := range prev {
		prev[j] = j
	}
	for i := 1; i <= len(a); i++ {
		cur[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			cur[j] = min(prev[j]+1, cur[j-1]+1, prev[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				cur[j] = min(cur[j], before[j-2]+1)
			}
		}
		before, prev, cur = prev, cur, before
	}
	return prev[len(b)]
}
