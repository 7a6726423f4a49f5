# Compiles the files named on standard input, one absolute path a line, to bytecode that is valid for exactly their
# bytes and is never checked again (PEP 552, "unchecked hash"): no time stamp enters it. Files that are not Python of
# this version are templates or tests; their names go to the file given as argument, and the build reports them.
import py_compile
import sys
import warnings

warnings.simplefilter("ignore")
mode = py_compile.PycInvalidationMode.UNCHECKED_HASH
with open(sys.argv[1], "w", encoding="utf-8") as failed:
    for line in sys.stdin:
        name = line.rstrip("\n")
        try:
            py_compile.compile(name, dfile=name, doraise=True, invalidation_mode=mode, optimize=0)
        except (py_compile.PyCompileError, SyntaxError, ValueError, RecursionError) as e:
            print(name, file=failed)
