package types

import (
	"errors"
	"testing"
)

func TestTranslationDomain(t *testing.T) {
	const (
		ac, in, make, vars = "../configure.ac", "../configure.in", "Makefile.in.in", "Makevars"
	)
	for name, c := range map[string]struct {
		files map[string]string
		want  string
	}{
		"nothing":                       {nil, ""},
		"Makevars":                      {map[string]string{vars: "# DOMAIN=no\nDOMAIN = yes  # comment\n"}, "yes"},
		"the first definition counts":   {map[string]string{vars: "DOMAIN=one\nDOMAIN=two\n"}, "one"},
		"no definition":                 {map[string]string{vars: " DOMAIN=indented\nXDOMAIN=x\n"}, ""},
		"an empty definition":           {map[string]string{vars: "DOMAIN=\n"}, ""},
		"Makefile.in.in":                {map[string]string{make: "GETTEXT_PACKAGE=packagename-in-in\n"}, "packagename-in-in"},
		"Makefile.in.in ends it":        {map[string]string{make: "GETTEXT_PACKAGE=one\n", vars: "DOMAIN=two\n"}, "one"},
		"configure.ac does not end it":  {map[string]string{ac: "GETTEXT_PACKAGE=one\n", in: "GETTEXT_PACKAGE=two\n"}, "two"},
		"an earlier value ends it":      {map[string]string{ac: "GETTEXT_PACKAGE=one\n", make: "nothing\n", vars: "DOMAIN=two\n"}, "one"},
		"a variable of another file":    {map[string]string{make: "PACKAGE=packagename-in-in\n", vars: "DOMAIN = $(PACKAGE)\n"}, "packagename-in-in"},
		"without parentheses":           {map[string]string{make: "PACKAGE=p\n", vars: "DOMAIN = $PACKAGE\n"}, "p"},
		"an unknown variable":           {map[string]string{vars: "DOMAIN = $(NOBODY)\n"}, ""},
		"the name of the package":       {map[string]string{ac: "AC_INIT([Package name], 1.0, http://bug.org, [package-tarname])\nGETTEXT_PACKAGE=AC_PACKAGE_NAME\n"}, "package-tarname"},
		"over several lines":            {map[string]string{ac: "AC_INIT([name],\n  [1.0])\nGETTEXT_PACKAGE=AC_PACKAGE_NAME\n"}, "name"},
		"one parameter":                 {map[string]string{ac: "AC_INIT([Just 1 param])\nGETTEXT_PACKAGE=AC_PACKAGE_NAME\n"}, ""},
		"no call":                       {map[string]string{ac: "GETTEXT_PACKAGE=AC_PACKAGE_NAME\n"}, ""},
		"no call, but another file":     {map[string]string{ac: "GETTEXT_PACKAGE=AC_PACKAGE_NAME\n", vars: "DOMAIN=foo\n"}, "foo"},
		"PACKAGE is the package's name": {map[string]string{ac: "AC_INIT(thing, 1)\nGETTEXT_PACKAGE=@PACKAGE@\n"}, "thing"},
		"a suffix":                      {map[string]string{ac: "MAJOR=42\nGETTEXT_PACKAGE=domainname-in@MAJOR@\n"}, "domainname-in42"},
		"an empty file ends it":         {map[string]string{ac: "GETTEXT_PACKAGE=one\n", make: "", vars: "DOMAIN=two\n"}, "one"},
		"both of a name":                {map[string]string{ac: "A=x\nGETTEXT_PACKAGE=@A@-@A@\n"}, "x-x"},
		"no recursion":                  {map[string]string{ac: "A=$B\nB=c\nGETTEXT_PACKAGE=@A@\n"}, "$B"},
		"itself, defined before":        {map[string]string{ac: "GETTEXT_PACKAGE=one\n", make: "GETTEXT_PACKAGE=@GETTEXT_PACKAGE@\n"}, "one"},
		"itself only":                   {map[string]string{make: "GETTEXT_PACKAGE=@GETTEXT_PACKAGE@\n"}, ""},
		"double quotes":                 {map[string]string{vars: "DOMAIN=\"a\"\n"}, "a"},
		"single quotes":                 {map[string]string{vars: "DOMAIN='a'\n"}, "a"},
		"brackets":                      {map[string]string{vars: "DOMAIN=[a]\n"}, "a"},
		"one layer of them":             {map[string]string{vars: "DOMAIN='\"a\"'\n"}, `"a"`},
		"no UTF-8":                      {map[string]string{vars: "# \xff\nDOMAIN=a\n"}, "a"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := translationDomain(func(name string) (string, bool, error) {
				text, ok := c.files[name]
				return text, ok, nil
			})
			if err != nil || got != c.want {
				t.Errorf("got %q, %v, want %q", got, err, c.want)
			}
		})
	}
	broken := errors.New("broken")
	if _, err := translationDomain(func(string) (string, bool, error) { return "", false, broken }); !errors.Is(err, broken) {
		t.Errorf("got %v", err)
	}
}
