"""Tables as people have them: each is understood, or refused with the option that decides; none is guessed at.

Every file here is what some program or person writes. `UNDERSTOOD` are read as they were meant, and what was decided
is said; `REFUSED` have a message that names the file, the place and a cure.
"""

import bz2
import gzip
from decimal import Decimal

import numpy as np
import pytest

from csrl_core.datasets import DataFileError
from csrl_core.datasets.frame_files import table_of
from csrl_core.datasets.readers import StandardInput, TableOptions, read

NAN = float("nan")
ROWS = [[1.5, 2.0], [3.0, 4.25], [7.0, 6.5]]


def a_counter(name, n=9):
    return f"{name},b\n" + "".join(f"{i},{i * i % 7}\n" for i in range(n))


# id → (name of the file, contents, options, rows, names, a part of what is said or left out)
UNDERSTOOD = {
    # indices and names of rows
    "pandas index": ("a.csv", ",a,b\n0,1.5,2\n1,3,4.25\n2,7,6.5\n", {}, ROWS, ["a", "b"], "numbers the rows"),
    "pandas index after a split": ("a.csv", ",a,b\n17,1.5,2\n3,3,4.25\n8,7,6.5\n", {}, ROWS, ["a", "b"], "no name"),
    "pandas index saved twice": (
        "a.csv", "Unnamed: 0,a,b\n0,1.5,2\n1,3,4.25\n2,7,6.5\n", {}, ROWS, ["a", "b"], "Unnamed: 0",
    ),
    "pandas index and counted columns": (
        "a.csv", ",0,1,2\n0,1,5,2\n1,3,4,9\n", {}, [[1, 5, 2], [3, 4, 9]], ["0", "1", "2"], "Unnamed: 0",
    ),
    "R's write.csv": ("a.csv", '"","a","b"\n"1",1.5,2\n"2",3,4.25\n"3",7,6.5\n', {}, ROWS, ["a", "b"], "no name"),
    "R's names of rows": (
        "a.csv", '"","a","b"\n"Mazda RX4",1.5,2\n"Datsun, 710",3,4.25\n"Hornet",7,6.5\n', {}, ROWS, ["a", "b"],
        "names the",
    ),
    "R's write.table": ("a.txt", '"a" "b"\n"1" 1.5 2\n"2" 3 4.25\n"3" 7 6.5\n', {}, ROWS, ["a", "b"], "spaces"),
    "pandas index of two levels": (
        "a.csv", ",,a,b\n0,0,1.5,2\n0,1,3,4.25\n1,0,7,6.5\n", {}, ROWS, ["a", "b"], "Unnamed: 1: it has no name",
    ),
    "pandas index saved three times": (
        "a.csv", "Unnamed: 0.1,Unnamed: 0,a,b\n0,0,1.5,2\n1,1,3,4.25\n2,2,7,6.5\n", {}, ROWS, ["a", "b"], "0.1",
    ),
    "what R prints": ("a.txt", "  a b\n1 1.5 2\n2 3 4.25\n3 7 6.5\n", {}, ROWS, ["a", "b"], "numbers the rows"),
    "a column without a name": (
        "a.csv", "a,,c\n1.5,2,1\n3,4.25,1\n", {}, [[1.5, 2, 1], [3, 4.25, 1]], ["a", "Unnamed: 1", "c"],
        "columns without a name: 2",
    ),
    "an identifier": ("a.csv", "id,a\n9,1\n4,5\n", {"identifier": "id"}, [[1], [5]], ["a"], "carried through"),
    "an identifier left out": ("a.csv", "id,a\n9,1\n4,5\n", {"drop": ("id",)}, [[1], [5]], ["a"], "id"),
    "a time that is meant": (
        "a.csv", a_counter("t"), {"columns": ("all",)}, [[i, i * i % 7] for i in range(9)], ["t", "b"], None,
    ),
    # headers
    "a header of numbers, said": ("a.csv", "0,1\n1.5,2\n3,4.25\n7,6.5\n", {"header": True}, ROWS, ["0", "1"], "line 1"),
    "a row that counts, said": (
        "a.csv", "0,1,2\n3,5,1\n", {"header": False}, [[0, 1, 2], [3, 5, 1]], None, "no header",
    ),
    "numbers that go on counting": (
        "a.csv", "0,1,2\n3,4,5\n6,7,8\n", {}, np.arange(9).reshape(3, 3), None, "no header",
    ),
    "names with commas": ("a.csv", '"a, in cm",b\n1.5,2\n3,4.25\n7,6.5\n', {}, ROWS, ["a, in cm", "b"], None),
    "two columns of one name": ("a.csv", "a,a\n1.5,2\n3,4.25\n7,6.5\n", {}, ROWS, ["a", "a"], "several columns"),
    "names of two lines": (
        "a.csv", '"length\n(cm)",b\n1.5,2\n3,4.25\n7,6.5\n', {}, ROWS, ["length\n(cm)", "b"], None,
    ),
    "a title, skipped": ("a.csv", "Report\n\na,b\n1.5,2\n3,4.25\n7,6.5\n", {"skip": {1}}, ROWS, ["a", "b"], "line 3"),
    "units, skipped": (
        "a.csv", "a,b\ncm,kg\n1.5,2\n3,4.25\n7,6.5\n", {"skip": {2}}, ROWS, ["a", "b"], "1 lines skipped",
    ),
    # NumPy, comments
    "savetxt": ("a.txt", "1.5e+00 2.0e+00\n3.0e+00 4.25e+00\n7.0e+00 6.5e+00\n", {}, ROWS, None, "spaces"),
    "savetxt with a header": ("a.txt", "# a b\n1.5 2\n3 4.25\n7 6.5\n", {}, ROWS, ["a", "b"], "names in a comment"),
    "savetxt, gzipped": ("a.txt.gz", gzip.compress(b"1.5 2\n3 4.25\n7 6.5\n"), {}, ROWS, None, "no header"),
    "a header that begins with #": ("a.csv", "#a,b\n1.5,2\n3,4.25\n7,6.5\n", {}, ROWS, ["a", "b"], "in a comment"),
    "comments in between": ("a.csv", "# x\na,b\n1.5,2\n% y\n3,4.25\n7,6.5\n", {}, ROWS, ["a", "b"], "2 comment lines"),
    "aligned columns": ("a.dat", "  1.5   2.0 \n  3.0   4.25\n\t7.0 6.5\n", {}, ROWS, None, "spaces"),
    # delimiters and decimals
    "semicolons": ("a.csv", "a;b\n1.5;2\n3;4.25\n7;6.5\n", {}, ROWS, ["a", "b"], "';'"),
    "bars": ("a.csv", "a|b\n1.5|2\n3|4.25\n7|6.5\n", {}, ROWS, ["a", "b"], "'|'"),
    "tabs in a CSV": ("a.csv", "a\tb\n1.5\t2\n3\t4.25\n7\t6.5\n", {}, ROWS, ["a", "b"], "separated by"),
    "Excel's sep=": ("a.csv", "sep=;\r\na;b\r\n1.5;2\r\n3;4.25\r\n7;6.5\r\n", {}, ROWS, ["a", "b"], "';'"),
    "decimal commas": ("a.csv", "a;b\n1,5;2\n3;4,25\n7;6,5\n", {}, ROWS, ["a", "b"], "decimal mark ','"),
    "decimal commas and tabs": ("a.tsv", "a\tb\n1,5\t2\n3\t4,25\n7\t6,5\n", {}, ROWS, ["a", "b"], "decimal mark"),
    "decimal commas in quotes": ("a.csv", 'a,b\n"1,5",2\n3,"4,25"\n7,"6,5"\n', {}, ROWS, ["a", "b"], "decimal mark"),
    "European thousands": ("a.csv", "a;b\n1.234,5;2\n3;4\n", {}, [[1234.5, 2], [3, 4]], ["a", "b"], "thousands"),
    "English thousands": ("a.csv", 'a,b\n"1,234.5",2\n3,4\n', {}, [[1234.5, 2], [3, 4]], ["a", "b"], "thousands"),
    "Indian thousands": (
        "a.csv", 'a,b\n"1,23,456",.5\n"12,345",2\n', {}, [[123456, 0.5], [12345, 2]], ["a", "b"], "thousands",
    ),
    "one column of decimal commas, said": (
        "a.csv", "a\n1,5\n3,1\n", {"delimiter": ";", "decimal": ","}, [[1.5], [3.1]], ["a"], "decimal mark ','",
    ),
    "leading zeros": ("a.csv", "zip,b\n01,2\n20,3\n", {}, [[1, 2], [20, 3]], ["zip", "b"], "'zip' has leading zeros"),
    "thousands, said": (
        "a.csv", 'a,b\n"1,234",2\n3,4\n', {"thousands": ","}, [[1234, 2], [3, 4]], ["a", "b"], "thousands",
    ),
    "thin spaces": ("a.csv", "a;b\n1\u202f234,5;2\n3;4\n", {}, [[1234.5, 2], [3, 4]], ["a", "b"], "thousands"),
    "typographic minus": ("a.csv", "a,b\n−1,2\n3,4\n", {}, [[-1, 2], [3, 4]], ["a", "b"], None),
    # ends of lines, encodings
    "Windows": ("a.csv", b"\xef\xbb\xbfa,b\r\n1.5,2\r\n3,4.25\r\n7,6.5\r\n", {}, ROWS, ["a", "b"], None),
    "old Mac": ("a.csv", b"a,b\r1.5,2\r3,4.25\r7,6.5\r", {}, ROWS, ["a", "b"], None),
    "UTF-16": ("a.csv", "a\tb\r\n1.5\t2\r\n3\t4.25\r\n7\t6.5\r\n".encode("utf-16"), {}, ROWS, ["a", "b"], None),
    "UTF-32": ("a.csv", "a,b\n1.5,2\n3,4.25\n7,6.5\n".encode("utf-32"), {}, ROWS, ["a", "b"], None),
    "UTF-16 without a mark": ("a.csv", "a,b\n1.5,2\n3,4.25\n7,6.5\n".encode("utf-16-le"), {}, ROWS, ["a", "b"], None),
    "cp1252, said": (
        "a.csv", "größe,b\n1.5,2\n3,4.25\n7,6.5\n".encode("cp1252"), {"encoding": "cp1252"}, ROWS, None, None,
    ),
    "one carriage return among Windows' ends": (
        "a.csv", b"a,b\r\n1.5,2\r3,4.25\r\n7,6.5\r\n", {}, ROWS, ["a", "b"], None,
    ),
    "files put together, marks and headers and all": (
        "a.csv", "\ufeffa,b\n1.5,2\n\ufeffa,b\n3,4.25\n\ufeff7,6.5\n", {}, ROWS, ["a", "b"], "stands 2 times",
    ),
    "a dash for a minus": ("a.csv", "a,b\n–1,2\n3,4\n", {}, [[-1, 2], [3, 4]], ["a", "b"], None),
    "Octave's comments": ("a.txt", "# rows: 3\n# columns: 2\n 1.5 2\n 3 4.25\n 7 6.5\n", {}, ROWS, None, "2 comment"),
    # empty cells, rows, columns
    "a trailing delimiter": ("a.csv", "a,b,\n1.5,2,\n3,4.25,\n7,6.5,\n", {}, ROWS, ["a", "b"], "empty"),
    "a trailing delimiter in the rows": ("a.csv", "a,b\n1.5,2,\n3,4.25,\n7,6.5,\n", {}, ROWS, ["a", "b"], "empty"),
    "Excel's empty rows and columns": (
        "a.csv", "a,b,,\n1.5,2,,\n3,4.25,,\n7,6.5,,\n,,,\n,,,\n", {}, ROWS, ["a", "b"], "2 empty rows",
    ),
    "missing, dropped": (
        "a.csv", "a,b\n1.5,2\nNA,1\n3,4.25\n1,\n7,6.5\n", {"missing": "drop"}, ROWS, ["a", "b"], "2 of 5 rows left out",
    ),
    "missing, means": (
        "a.csv", "a,b\n1,2\n.,4\n3,?\n", {"missing": "mean"}, [[1, 2], [2, 4], [3, 3]], ["a", "b"], "2 missing values",
    ),
    "a number that means missing": (
        "a.csv", "a,b\n1,2\n-999.0,4\n3,7\n", {"missing": "drop", "missing_words": ("-999",)}, [[1, 2], [3, 7]],
        ["a", "b"],
        "1 of 3 rows",
    ),
    "a number that may mean missing": (
        "a.csv", "a,b\n1,2\n-999,4\n3,7\n", {}, [[1, 2], [-999, 4], [3, 7]], ["a", "b"], "if that means missing",
    ),
    # words, quotes, text
    "true and false": ("a.csv", "a,b\nTRUE,2\nFalse,4\n", {}, [[1, 2], [0, 4]], ["a", "b"], "taken as 1 and 0"),
    "everything in quotes": ("a.csv", '"a","b"\n"1.5","2"\n"3","4.25"\n"7","6.5"\n', {}, ROWS, ["a", "b"], None),
    "classes without a header": (
        "iris.data", "1.5,2,Iris-a\n3,4.25,Iris-a\n7,6.5,Iris-b\n\n", {"label": "x2"}, ROWS, None, "x2",
    ),
    "classes of text": ("a.csv", "a,s,b\n1.5,u,2\n3,v,4.25\n7,u,6.5\n", {"label": "s"}, ROWS, ["a", "b"], "s"),
    "a remark of several lines": (
        "a.csv", 'a,note,b\n1.5,"in the\nmorning",2\n3,x,4.25\n7,y,6.5\n', {"drop": ("note",)}, ROWS, ["a", "b"],
        "note",
    ),
    "columns in an order": (
        "a.csv", "b,c,a\n2,9,1.5\n4.25,9,3\n6.5,9,7\n", {"columns": ("a", "b")}, ROWS, ["a", "b"], "c",
    ),
}  # fmt: skip

# id → (name, contents, options, part of the message)
REFUSED = {
    # what may be read in two ways
    "columns that count": (
        "a.csv", "0,1,2\n.5,.1,3\n.5,.4,4\n", {}, "line 1: is the first row .* --header or --no-header",
    ),
    "wavelengths": ("a.csv", "400,401,402\n.1,.2,.1\n.2,.3,.1\n", {}, "--header or --no-header"),
    "uneven wavelengths": (
        "a.csv", "400.1,401.7,402.2,404.9,406,409\n.1,.2,.1,.5,.3,.2\n.2,.3,.1,.2,.7,.1\n", {},
        "--header or --no-header",
    ),
    "years": ("a.csv", "2019,2021,2022\n5,7,8\n1,2,9\n", {}, "--header or --no-header"),
    "whole numbers above fractions": ("a.csv", "17,4,9\n.1,.2,.1\n.2,.3,.1\n", {}, "--header or --no-header"),
    "an unnamed series": ("a.csv", "0\n0.12\n0.55\n", {}, "--header or --no-header"),
    "names or missing values": ("a.csv", "NA,NA\n1,2\n", {}, "--header or --no-header"),
    "names and years": ("a.csv", "name,2019,2020\nx,1,2\ny,3,5\n", {}, "'name'.*--header"),
    "half a header": ("a.csv", "1,label\n1,2\n", {}, "line 1, column 2: found 'label'.*--header"),
    "a comma of either kind": ("a.csv", "a;b\n1,500;2,500\n3,250;4,000\n", {}, "--decimal , or --thousands ,"),
    "a column named id": (
        "a.csv", "id,a\n17,2\n23,3\n", {}, "'id' is named like.*--drop id .*--id-column id .*--columns all",
    ),
    "PassengerId": ("a.csv", "PassengerId,a\n17,2\n23,3\n", {}, "--drop PassengerId"),
    "a column that counts": ("a.csv", a_counter("time"), {}, "'time' counts the rows from 0 to 8.*--drop time"),
    "a column that counts, no header": ("a.csv", a_counter("x").partition("\n")[2], {}, "'x0' counts.*--drop x0"),
    "an unnamed column of fractions": ("a.csv", ",a,b\n.5,1,2\n.7,1,3\n", {}, "has no name.*--drop 'Unnamed: 0'"),
    "names and rows of two kinds": ("a.csv", "x,y\n1;2\n3;4\n", {}, "line 1: the names are separated by ',', the rows"),
    "a column that counts, in any order": (
        "a.csv", "n,b\n" + "".join(f"{i * 7 % 11 + 100},{i % 3}\n" for i in range(11)), {},
        "'n' has every whole number from 100 to 110 once.*--drop n .*--id-column n",
    ),
    "a number of the sample": ("a.csv", "Sample number,a\n17,2\n23,3\n", {}, "named like.*--drop 'Sample number'"),
    "dates as numbers": ("a.csv", "d,b\n20200131,2\n20200201,5\n", {}, "'d' has dates written as numbers, such as 20"),
    "times since 1970": ("a.csv", "timestamp,b\n1600000000,2\n1600000907,5\n", {}, "is named like a time.*--drop"),
    "numbers too long for floats": (
        "a.csv", "order,b\n12345678901234567890,2\n12345678901234567891,5\n", {}, "so many digits.*--id-column order",
    ),
    "decimal commas or names of rows": (
        "a.csv", "a\n1,5\n3,1\n4,2\n", {}, "found '1,5' below .*--delimiter ';' and --decimal ,;.*--delimiter ,",
    ),
    "rows in quotes as wholes": ("a.csv", '"a,b"\n"1,2"\n"3,4"\n', {}, "line 3: .*around whole rows.*--decimal ,"),
    "long rows in quotes": ("a.csv", '"1,2,5"\n"3,4,4"\n', {}, "around whole rows, remove these$"),
    "a point between semicolons": ("a.csv", "a;b\n1.500;2\n3.250;4\n", {}, "--decimal . or --thousands ."),
    "Excel's days": ("a.csv", "date,b\n43831,2\n43834,5\n", {}, "'date' is named like a time.*43831.*--drop date"),
    "decimal commas between commas": ("a.csv", "a,b\n1,5,2,1\n3,5,4,0\n", {}, "found 4 columns.*decimal marks as well"),
    "an empty cell or a header": ("a.csv", ",2,5\n1,2,4\n3,4,4\n", {}, "Its first cell is empty: --header or"),
    "names between spaces": ("a.csv", "a b c\n1,2,3\n4,5,7\n", {}, "separated by ' ', the rows below by ','"),
    # quotes
    "an open quote in the last line": ("a.csv", 'a,b\n1,2\n3,"4\n', {}, "line 3: a quote is opened and not closed; "),
    "an open quote": (
        "a.csv", 'a,b\n1,"y\n2,3\n4,y"\n5,6\n', {}, "line 2: a quote is opened and not closed before line 4",
    ),
    "an open quote in a class": (
        "a.csv", 'a,c\n1,"y\n2,x\n4,"y\n5,z\n', {"label": "c"}, "line 2: a quote is opened.*before line 4",
    ),
    "a quote open to the end": ("a.csv", 'a,c\n1,"y\n2,x\n4,y\n', {"label": "c"}, "line 2: a quote is opened"),
    "single quotes": ("a.csv", "a,b\n'1','2'\n'3','5'\n", {}, "in single quotes"),
    # cells that are no numbers
    "missing": (
        "a.csv", "a,b\n1,2\n3,N/A\n", {}, r"line 3, column 2 \('b'\): found 'N/A'.*--missing drop.*--missing mean",
    ),
    "an unknown mark": ("a.csv", "a,b\n1,2\n3,nd\n4,5\n", {}, "found 'nd'.*--missing-values nd"),
    "SAS missing": ("a.csv", "a,b\n1,2\n3,.A\n4,5\n", {}, "found '.A'.*--missing drop"),
    "a date": ("a.csv", "d,b\n2020-01-31,2\n2020-02-01,5\n", {}, "'2020-01-31'.*a date; --drop d .*--id-column d"),
    "a German date": ("a.csv", "d;b\n31.01.2020;2\n1.2.2020;5\n", {}, "a date; --drop d"),
    "a time": ("a.csv", "t,b\n12:30,2\n13:00,5\n", {}, "a time; --drop t"),
    "text": ("a.csv", "a,s\n1,u\n2,v\n", {}, "found 'u'.*--drop s .*--id-column s .*--label-column s"),
    "text twice": ("a.csv", "p,s,a\nu,v,1\nw,v,2\n", {}, "'u'.*--drop p .*text stands in 's' as well"),
    "per cent": ("a.csv", "a,b\n45%,2\n50 %,3\n", {}, "'45%'.*a percentage"),
    "money": ("a.csv", 'a,b\n"$1,045",2\n$50,3\n', {}, "money"),
    "euros": ("a.csv", "a;b\n45,50 €;2\n50,10 €;3\n", {}, "money"),
    "a unit": ("a.csv", "a,b\n5kg,2\n7kg,3\n", {}, "'5kg'.*remove the unit"),
    "a bound": ("a.csv", "a,b\n<0.5,2\n7,3\n", {}, "'<0.5'.*a bound"),
    "brackets": ("a.csv", "a,b\n(5),2\n7,3\n", {}, "minus sign"),
    "Fortran": ("a.csv", "a,b\n1.0D+02,2\n7,3\n", {}, "write e instead of D"),
    "Excel's narrow column": ("a.csv", "a,b\n####,2\n7,3\n", {}, "too narrow"),
    "Excel's errors": ("a.csv", "a,b\n#N/A,2\n7,3\n", {}, "line 2, column 1.*'#N/A'.*--missing drop"),
    "a formula": ("a.csv", "a,b\n=A1+1,2\n7,3\n", {}, "a formula"),
    "a fraction": ("a.csv", "a,b\n1/2,2\n3/4,3\n", {}, "'1/2'.*a fraction or ratio"),
    "an error": ("a.csv", "a,b\n1.5±0.1,2\n3,4\n", {}, "a number with its error"),
    "a minus behind": ("a.csv", "a,b\n5-,2\n3,4\n", {}, "'5-'.*write the minus in front"),
    "Fortran's stars": ("a.csv", "a,b\n****,2\n3,4\n", {}, "a field was too narrow"),
    "a list in a cell": ("a.csv", 'a,b\n"[1, 2]",2\n3,4\n', {}, "a list"),
    "yes and no": ("a.csv", "a,b\nyes,2\nno,3\n", {}, "'yes'.*write 1 and 0, or --drop a"),
    "a month": ("a.csv", "d,b\n2020-01,2\n2020-02,5\n", {}, "'2020-01'.*it is a date; --drop d"),
    "money with a code": ("a.csv", "a,b\nEUR 5,2\nEUR 6,3\n", {}, "money"),
    "a comment behind a number": ("a.csv", "a,b\n5 # off,2\n6,3\n", {}, "'5 # off'.*remove the comment"),
    "complex numbers": ("a.csv", "a,b\n(1+2j),2\n6,3\n", {}, "real and imaginary part"),
    "LIBSVM": ("a.txt", "1 1:0.5 2:0.3\n0 1:0.1 2:0.9\n", {}, "load_svmlight_file"),
    "an unusual mark between cells": ("a.csv", "a~b\n1~2\n3~4\n", {}, "if '~' separates cells, --delimiter ~"),
    "thousands or decimals, far down": (
        "a.csv", "a;b\n" + "1;2\n" * 80 + "1,234;5\n", {}, "line 82.*--decimal , .* 1.234, --thousands , .* 1234",
    ),
    "true and numbers": (
        "a.csv", "a,b\ntrue,2\n7,3\n5,1\n", {}, "'a' has 1 cells true or false, and 2 of another kind",
    ),
    "an underscore": ("a.csv", "a,b\n1_000,2\n7,3\n", {}, "'1_000'"),
    "units": ("a.csv", "a,b\ncm,kg\n1,2\n2,3\n", {}, "line 2 has no number at all.*--skip-lines 2"),
    "a comma in a file of points": (
        "a.csv", "a;b\n1.5;2\n2.5;1,5\n" + "1.5;2\n" * 70, {"decimal": "."}, "'1,5'.*--decimal ,",
    ),
    # rows of other lengths
    "a title": ("a.csv", "Report of May\n\na,b\n1,2\n3,4\n", {}, "line 1: .*a title, --skip-lines 1"),
    "a title over columns": ("a.csv", "Report of May,,\na,b,c\n1,2,3\n", {}, "line 1: .*a title, --skip-lines 1"),
    "a row too long": ("a.csv", "a,b\n1,2\n3,4,5\n", {}, "line 3: found 3 columns, expected 2.*--skip-lines 3"),
    "a total": ("a.csv", "a,b\n1,2\n3,4\nTotal,6\n", {}, "line 4, column 1.*'Total'.*--skip-lines 4"),
    "a count of rows": ("a.csv", "a,b\n1,2\n3,4\n(2 rows)\n", {}, "line 4: found 1 columns.*--skip-lines 4"),
    # columns
    "a name that is not there": ("a.csv", "height,b\n1,2\n", {"drop": ("heigth",)}, r"--drop\); did you mean 'height'"),
    "a name that is there twice": ("a.csv", "a,a,b\n1,2,3\n", {"drop": ("a",)}, "has 2 columns a"),
    "no column left": ("a.csv", "a\n1\n2\n", {"drop": ("a",)}, "has no column; expected at least one feature"),
    "a column without values": ("a.csv", "a,b\n1,\n2,\n", {}, "no values in the first rows: --drop b"),
    "a column without values, means": ("a.csv", "a,b\n1,\n2,\n", {"missing": "mean"}, "'b' has no value, so no mean"),
    "nothing left": ("a.csv", "a,b\n1,\n2,\n", {"missing": "drop"}, "every row has a missing value"),
    # other files
    "a zero byte": ("a.csv", b"a,b\n1,2\n3,\x005\n", {}, "line 3: found a zero byte"),
    "cp1252": ("a.csv", "größe,b\n1,2\n".encode("cp1252"), {}, "not UTF-8 text.*--encoding cp1252"),
    "an encoding that is none": ("a.csv", "a,b\n1,2\n", {"encoding": "utf-7000"}, "no known encoding"),
    "Excel named CSV": ("a.csv", b"PK\x03\x04" + bytes(80), {}, "a ZIP archive .*save the sheet as CSV"),
    "Excel": ("a.xlsx", b"PK\x03\x04", {}, "found suffix '.xlsx'.*save the sheet as CSV"),
    "JSON": ("a.csv", '{"a": [1, 2]}\n', {}, "is JSON"),
    "a web page": ("a.csv", "<!DOCTYPE html><html>", {}, "a web page"),
    "Matrix Market": ("a.txt", "%%MatrixMarket matrix\n2 2 1\n1 1 5\n", {}, "is of Matrix Market.*scipy.io.mmread"),
    "an image": ("a.csv", b"\x89PNG\r\n\x1a\n", {}, "is an image"),
    "packed by another name": ("a.csv", bz2.compress(b"1,2\n"), {}, "is packed by bzip2; unpack it first"),
    "a pointer": ("a.csv", "version https://git-lfs.github.com/spec/v1\n", {}, "git lfs pull"),
    "half of a UTF-16 letter": ("a.csv", "a,b\n1,2\n".encode("utf-16")[:-1], {}, "not utf-16 text.*cut short"),
    "XML": ("a.csv", '<?xml version="1.0"?>', {}, "is XML; save the sheet as CSV"),
    "Weka's own suffix": ("a.arff", "@relation x\n", {}, "is an ARFF file of Weka"),
    "a packed table": ("a.csv.zip", b"PK\x03\x04", {}, "found suffix '.csv.zip'.*unpack it first"),
    "SciPy's sparse": ("a.npz", None, {}, "sparse matrix of SciPy.*toarray"),
    "only names": ("a.csv", "a,b\n", {}, "found no rows of numbers"),
}  # fmt: skip


def written(folder, name, contents):
    path = folder / name
    path.write_bytes(contents if isinstance(contents, bytes) else contents.encode())
    return path


@pytest.mark.parametrize("case", UNDERSTOOD)
def test_a_table_is_understood(case, tmp_path):
    name, contents, options, rows, names, said = UNDERSTOOD[case]
    options = {**options, "skip": frozenset(options.get("skip", ()))}
    table = read(written(tmp_path, name, contents), TableOptions(typed=True, **options))
    np.testing.assert_array_equal(table.X, rows)
    assert table.X.dtype == np.float64
    assert table.names == (names or table.names)
    assert table.named is bool(names) or names is None
    notes = "; ".join([*table.notes, *(f"{column}: {why}" for column, why in table.left_out.items())])
    assert said is None or said in notes


@pytest.mark.parametrize("case", REFUSED)
def test_a_table_is_refused_with_the_place_and_the_cure(case, tmp_path):
    name, contents, options, message = REFUSED[case]
    if contents is None:
        import scipy.sparse

        scipy.sparse.save_npz(tmp_path / name, scipy.sparse.eye(3).tocsr())
        path = tmp_path / name
    else:
        path = written(tmp_path, name, contents)
    with pytest.raises(DataFileError, match=message) as caught:
        read(path, TableOptions(typed=True, **options))
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


def test_there_are_many():
    assert len(UNDERSTOOD) >= 50
    assert len(REFUSED) >= 50


@pytest.mark.parametrize(
    "word", ["", "NA", "N/A", "#N/A", "-", "?", ".", "NaN", "null", "None", "#DIV/0!", "<NA>", "n.a."]
)
def test_words_that_mean_missing(word, tmp_path):
    path = written(tmp_path, "a.csv", f"a,b\n1.5,2\n5,{word}\n3,4.25\n7,6.5\n")
    table = read(path, TableOptions(missing="drop", typed=True))
    np.testing.assert_array_equal(table.X, ROWS)
    assert table.rows.tolist() == [1, 3, 4]


def test_what_goes_with_the_rows_is_dropped_with_them(tmp_path):
    path = written(tmp_path, "a.csv", "id,a,c\nu,1,x\nv,NA,y\nw,3,NA\n")
    table = read(path, TableOptions(missing="drop", identifier="id", label="c", typed=True))
    assert table.identifiers.tolist() == ["u", "w"]
    assert table.labels.tolist() == ["x", ""]
    assert table.lines.tolist() == [2, 4]


def test_the_library_has_the_same_options(tmp_path):
    from csrl_core.datasets import read_table

    path = written(tmp_path, "a.csv", "id;a\n7;1,5\n9;2,5\n")
    with pytest.raises(DataFileError, match=r"drop=\['id'\] leaves it out, identifier='id'"):
        read_table(path)
    X, names = read_table(path, drop=["id"])
    assert (X.tolist(), names) == ([[1.5], [2.5]], ["a"])


ARRAYS = {  # name → (array, options, a part of the message, or the rows)
    "an index in front": (np.column_stack([np.arange(9), np.arange(9) % 4]), {}, "'x0' counts the rows .*--drop x0"),
    "an index in front, left out": (np.column_stack([np.arange(9), np.ones(9)]), {"drop": ("x0",)}, np.ones((9, 1))),
    "structured": (np.array([(1.5, 2), (3, 4)], [("a", "f8"), ("b", "i4")]), {}, [[1.5, 2], [3, 4]]),
    "structured, of text": (np.array([(1.5, "u")], [("a", "f8"), ("b", "U1")]), {}, "structured array .*numpy.save"),
    "complex": (np.ones((3, 2)) * 1j, {}, "array of complex128.*numpy.column_stack"),
    "text": (np.array([["1", "2"]]), {}, "array of <U1.*astype"),
    "dates": (np.array([["2020-01-01"]], "M8[D]"), {}, "array of datetime64.*days since 1970"),
    "numbers too large for floats": (np.array([[2**60, 1], [2**60 + 1, 2]]), {}, r"whole numbers above 2\*\*53"),
    "float16": (np.float16([[1.5, 2], [3, 4]]), {}, [[1.5, 2], [3, 4]]),
    "other bytes first": (np.array([[1.5, 2], [3, 4]], ">f8"), {}, [[1.5, 2], [3, 4]]),
    "three dimensions": (np.ones((2, 3, 4)), {}, r"shape \(2, 3, 4\), expected 2 dimensions.*reshape"),
}


@pytest.mark.parametrize("case", ARRAYS)
def test_an_array_is_understood_or_refused(case, tmp_path):
    array, options, result = ARRAYS[case]
    np.save(tmp_path / "a.npy", array)
    if isinstance(result, str):
        with pytest.raises(DataFileError, match=result):
            read(tmp_path / "a.npy", TableOptions(typed=True, **options))
    else:
        table = read(tmp_path / "a.npy", TableOptions(typed=True, header=True, **options))
        np.testing.assert_array_equal(table.X, result)
        assert table.named is (array.dtype.names is not None)
        assert "--header: for text files only" in table.notes


def test_standard_input_is_told_by_its_bytes():
    idx = bytes([0, 0, 0x0D, 2]) + (1).to_bytes(4, "big") + (2).to_bytes(4, "big") + np.array([1.5, 2], ">f4").tobytes()
    for data in (idx, gzip.compress(idx), b"1.5,2\n", gzip.compress(b"1.5,2\n")):
        np.testing.assert_array_equal(read(StandardInput(data)).X, [[1.5, 2]])
    with pytest.raises(DataFileError, match="standard input: the gzip stream is damaged or cut short"):
        read(StandardInput(gzip.compress(b"1.5,2\n" * 99)[:-9]))


def test_a_model_that_knows_how_many_columns_there_are_asks_no_more(tmp_path):
    path = written(tmp_path, "a.csv", a_counter("time"))
    assert read(path, TableOptions(n_features=2)).X.shape == (9, 2)


def test_images_in_idx_files_become_rows(tmp_path):
    images = np.arange(24, dtype="u1").reshape(2, 3, 4)
    header = bytes([0, 0, 8, 3]) + b"".join(length.to_bytes(4, "big") for length in images.shape)
    for name, pack in (("t10k-images-idx3-ubyte", bytes), ("images.idx3-ubyte.gz", gzip.compress)):
        table = read(written(tmp_path, name, pack(header + images.tobytes())), TableOptions(typed=True))
        np.testing.assert_array_equal(table.X, images.reshape(2, 12))
        assert table.notes == ["images of shape 3×4"]


def test_a_file_of_stata(tmp_path):
    pandas = pytest.importorskip("pandas", reason="Stata files are read by pandas")
    frame = pandas.DataFrame({"a": [1.5, 3, 7], "name": ["u", "v", "w"], "b": np.array([1, 2, 3], np.int16)})
    frame.to_stata(tmp_path / "a.dta", write_index=False)
    with pytest.raises(DataFileError, match=r"column 'name' is of type .*--drop name .*--id-column name"):
        read(tmp_path / "a.dta", TableOptions(typed=True))
    table = read(tmp_path / "a.dta", TableOptions(identifier="name", typed=True))
    np.testing.assert_array_equal(table.X, [[1.5, 1], [3, 2], [7, 3]])
    assert table.identifiers.tolist() == ["u", "v", "w"]


def test_parquet_needs_a_library_and_says_so(tmp_path):
    pandas = pytest.importorskip("pandas", reason="Parquet is read by pandas")
    path = tmp_path / "a.parquet"
    try:
        pandas.DataFrame({"a": [1.5, 3.0], "b": [True, False]}).to_parquet(path)
    except ImportError:
        path.write_bytes(b"PAR1")
        with pytest.raises(ImportError, match=r"needs pandas or Polars.*save it as CSV"):
            read(path)
    else:
        np.testing.assert_array_equal(read(path).X, [[1.5, 1], [3, 0]])


def test_the_index_of_a_frame_is_no_feature():
    pandas = pytest.importorskip("pandas", reason="the frames are those of pandas")
    frame = pandas.DataFrame({"a": [1.5, 3.0], "b": [Decimal("2"), None]}, index=pandas.Index([7, 3], name="when"))
    table = table_of("a.parquet", frame, TableOptions(typed=True, missing="drop"), [])
    np.testing.assert_array_equal(table.X, [[1.5, 2]])
    assert (table.names, table.left_out) == (["a", "b"], {"when": "the index"})
    table = table_of("a.parquet", frame, TableOptions(typed=True, missing="drop", identifier="when"), [])
    assert table.identifiers.tolist() == ["7"]
