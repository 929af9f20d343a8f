// The grammar of mcd for editors. It follows grammar/mcd.lark rule by rule; what is left to mcd itself is the layout (a
// declaration starts in column 1), escapes in strings, and the edition.
//
// Keywords are names wherever no keyword can stand: tree-sitter takes a word for a keyword only where the grammar allows
// it. Where both can stand, at `stage` in a curriculum, the token that follows decides.
//
// A `name` is one that is declared or belongs to the place where it stands; an `identifier` means something named elsewhere.

const OPERATOR_WORDS = ["where", "or", "and", "not", "before", "after", "in"];
const QUOTED = /"[^"\\\n]*(\\.[^"\\\n]*)*"/;

module.exports = grammar({
  name: "mcd",

  extras: ($) => [/\s/, $.doc_comment, $.comment],

  word: ($) => $.name,

  supertypes: ($) => [$._item, $._expression],

  rules: {
    spec: ($) => seq($.header, repeat($._item)),

    header: ($) => seq("mcd", field("edition", alias(/[0-9]+/, $.number))),

    _item: ($) =>
      choice(
        $.import,
        $.let,
        $.model,
        $.teacher,
        $.source,
        $.span,
        $.concept,
        $.relate,
        $.relate_like,
        $.attend,
        $.signal,
        $.weigh,
        $.keep,
        $.gradient,
        $.curriculum,
        $.frame,
        $.use,
        $.expect,
      ),

    // --- declarations

    import: ($) => seq("import", field("path", choice($.string, $.raw_string)), "as", field("alias", $.name)),

    let: ($) =>
      seq(
        "let",
        field("name", $.name),
        optional(seq(":", field("type", alias($.name, $.type)))),
        "=",
        field("value", $._expression),
      ),

    model: ($) => seq("model", field("name", $.name), $.block),
    teacher: ($) => seq("teacher", field("name", $.name), $.block),
    source: ($) => seq("source", field("name", $.name), "=", field("value", $._expression), optional($.block)),
    span: ($) =>
      seq(
        "span",
        field("name", $.name),
        optional(seq("of", field("source", $.name))),
        "=",
        field("value", $._expression),
      ),
    concept: ($) => seq("concept", field("name", $.name), $.block),

    relate: ($) =>
      seq(
        "relate",
        optional($.label),
        field("left", $._reference),
        field("relation", alias($.name, $.relation)),
        field("right", $._reference),
        $.block,
      ),
    relate_like: ($) =>
      seq(
        "relate",
        optional($.label),
        $._reference,
        "->",
        $._reference,
        "like",
        $._reference,
        "->",
        $._reference,
        $.block,
      ),
    attend: ($) =>
      seq(
        "attend",
        optional($.label),
        field("query", $._expression),
        "->",
        field("key", $._no_where),
        repeat(seq("where", field("condition", $._no_where))),
        $.block,
      ),
    signal: ($) => seq("signal", optional($.label), field("subject", $._expression), $.block),
    weigh: ($) => seq("weigh", optional($.label), field("subject", $._expression), $.block),
    keep: ($) => seq("keep", optional($.label), field("subject", $._expression), $.block),

    gradient: ($) => seq("gradient", $.block),
    curriculum: ($) => seq("curriculum", "{", repeat(choice($.attribute, $.stage)), "}"),
    stage: ($) => seq("stage", field("name", $.name), field("share", $.percent), $.block),

    frame: ($) =>
      seq(
        "frame",
        field("name", $.name),
        field("parameters", alias(listed("(", $.parameter, ")"), $.parameters)),
        field("body", alias(seq("{", repeat($._item), "}"), $.frame_body)),
      ),
    parameter: ($) =>
      seq(
        field("name", $.name),
        ":",
        field("type", alias($.name, $.type)),
        optional(seq("=", field("default", $._expression))),
      ),
    use: ($) =>
      seq(
        "use",
        field("frame", choice($._reference, alias($.use_call, $.call))),
        "as",
        field("alias", $.name),
      ),
    use_call: ($) => seq(field("function", $._reference), field("arguments", $.arguments)),
    expect: ($) => seq("expect", optional("trained"), field("claim", $._expression)),

    label: ($) => seq(field("name", $.name), ":"),
    block: ($) => seq("{", repeat($.attribute), "}"),
    attribute: ($) =>
      seq(
        field("name", choice($.name, alias("stage", $.name))),
        repeat($.field),
        "=",
        field("value", $._expression),
      ),
    _reference: ($) => choice(alias($.name, $.identifier), $.constant, alias($.reference_member, $.member)),
    reference_member: ($) => seq(field("base", $._reference), field("field", $.field)),

    // --- expressions, from loose to tight

    _expression: ($) => choice($.where, $._no_where),

    where: ($) => prec.left(seq(field("set", $._expression), "where", field("condition", $._no_where))),

    _no_where: ($) => choice($.logic, $.not, $._compared),
    logic: ($) => choice(prec.left(1, infix($._no_where, "or")), prec.left(2, infix($._no_where, "and"))),
    not: ($) => prec(3, seq("not", field("operand", $._no_where))),

    // Neither comparisons nor ranges chain.
    _compared: ($) => choice($.comparison, $._set),
    comparison: ($) => infix($._set, choice("==", "!=", ">=", "<=", ">", "<", "before", "after")),

    _set: ($) => choice($.set, $._range),
    set: ($) =>
      choice(
        prec.left(1, infix($._set, "|")),
        prec.left(2, infix($._set, "&")),
        prec.left(3, infix($._set, "in")),
      ),

    _range: ($) => choice($.range, $._sum),
    range: ($) => infix($._sum, ".."),

    _sum: ($) => choice($.arithmetic, $.negative, $._postfix),
    arithmetic: ($) =>
      choice(prec.left(1, infix($._sum, choice("+", "-"))), prec.left(2, infix($._sum, choice("*", "/")))),
    negative: ($) => prec(3, seq("-", field("operand", $._sum))),

    _postfix: ($) =>
      choice(
        $.member,
        $.call,
        $.number,
        $.percent,
        $.string,
        $.raw_string,
        $.field,
        alias($.name, $.identifier),
        $.constant,
        $.list,
        $.map,
        $.parenthesized,
      ),

    member: ($) => prec(4, seq(field("base", $._postfix), field("field", $.field))),
    call: ($) => prec(4, seq(field("function", $._postfix), field("arguments", $.arguments))),
    arguments: ($) => listed("(", $.argument, ")"),
    argument: ($) => seq(optional(seq(field("name", $.name), ":")), field("value", $._expression)),
    list: ($) => listed("[", $._expression, "]"),
    map: ($) => listed("{", $.entry, "}"),
    entry: ($) => seq(field("key", $._expression), ":", field("value", $._expression)),
    parenthesized: ($) => seq("(", $._expression, ")"),

    // --- tokens

    name: (_) => nameExcept(OPERATOR_WORDS),
    constant: (_) => /\$[A-Za-z_][A-Za-z0-9_]*/,
    field: (_) => token(seq(".", choice(/[A-Za-z_][A-Za-z0-9_]*/, QUOTED))),
    percent: (_) => /[0-9]+(\.[0-9]+)?%/,
    number: (_) => /[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?/,

    string: ($) => seq('"', repeat(choice($._content, $.escape, $.slot)), token.immediate('"')),
    // What is inside a string is never a comment, however long that would be.
    _content: (_) => token.immediate(prec(2, /[^"\\\n{}]+|[{}]/)),
    escape: (_) => token.immediate(prec(3, choice(/\\[^\n]/, /\\u\{[0-9A-Fa-f]*\}/, "{{", "}}"))),
    slot: (_) => token.immediate(prec(3, /\{(\.[A-Za-z_][A-Za-z0-9_]*)+\}/)),

    raw_string: ($) => seq('r"', optional(alias($._raw_content, $.raw_content)), token.immediate('"')),
    _raw_content: (_) => token.immediate(prec(2, /([^"\\\n]|\\[^\n])+/)),

    doc_comment: (_) => token(prec(1, /##[^\n]*/)),
    comment: (_) => token(/#[^\n]*/),
  },
});

/** `item`s between brackets, parted by commas, of which one may stand at the end. */
function listed(opening, item, closing) {
  return seq(opening, optional(seq(item, repeat(seq(",", item)), optional(","))), closing);
}

function infix(operand, operator) {
  return seq(field("left", operand), field("operator", operator), field("right", operand));
}

/** A regular expression of the names that are none of `words`, since the lexer has no lookahead to say so. */
function nameExcept(words) {
  const behind = (prefix) => {
    const longer = words.filter((word) => word.startsWith(prefix) && word !== prefix);
    const next = [...new Set(longer.map((word) => word[prefix.length]))];
    const other = `[${characters(prefix ? "A-Za-z0-9_" : "A-Za-z_", next)}][A-Za-z0-9_]*`;
    const found = [other, ...next.map((character) => character + behind(prefix + character))].join("|");
    return prefix === "" || words.includes(prefix) ? `(${found})` : `(${found})?`;
  };
  return new RegExp(behind(""));
}

/** The characters of a class without some lower-case letters. */
function characters(all, letters) {
  const left = [..."abcdefghijklmnopqrstuvwxyz"].filter((letter) => !letters.includes(letter)).join("");
  return all.replace("a-z", left);
}
