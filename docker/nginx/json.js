// JSON as Triton's parser reads it, in one pass over the bytes: njs's own JSON.parse hides what is written twice, with
// escapes, or as 1.0, and its regular expressions take seconds for a body of many matches.

const MAX_DEPTH = 8;
const MAX_NAMES = 1000;
const MAX_INT64 = '9223372036854775807';
const BELOW_2_63 = 9223372036854774784;  // the greatest number below 2^63 that a double holds
const TOO_LARGE = 1e30;  // stands for whole numbers of more than 64 bits
const AS_FRACTION = 0.0625;  // is added to whole numbers that are written as 1.0 or 1e0, which Triton takes for none
const NUMBER = /^-?(0|[1-9]\d*)(\.\d+)?([eE][-+]?\d+)?$/;
const QUOTE = 0x22, BACKSLASH = 0x5c, COMMA = 0x2c, MINUS = 0x2d, COLON = 0x3a;
const WORDS = {t: ['true', true], f: ['false', false], n: ['null', null]};

function refused(text) {
    const error = new Error(text);
    error.refused = true;
    return error;
}

function notJson(at) {
    return refused(`the body is no JSON at byte ${at}: send one object, such as {"inputs": [...]}`);
}

// A value as an error shows it.
function shown(value) {
    if (value === undefined) {
        return 'missing';
    }
    if (typeof value === 'number' && Math.abs(value) >= TOO_LARGE) {
        return 'a number of more than 64 bits';
    }
    const text = JSON.stringify(value).replace(/(\d)\.0625\b/, '$1.0');
    return text.length > 60 ? text.slice(0, 60) + '...' : text;
}

// The value of `bytes`, a Buffer, up to `end`.
function parse(bytes, end) {
    let at = 0;
    let names = 0;

    function skip() {
        while (at < end) {
            const byte = bytes[at];
            if (byte !== 0x20 && byte !== 0x0a && byte !== 0x0d && byte !== 0x09) {
                return byte;
            }
            at += 1;
        }
        throw notJson(end);
    }

    // The length of an escape whose backslash is at `place`; 12 for a surrogate pair.
    function escape(place) {
        if (bytes[place + 1] !== 0x75) {
            return 2;
        }
        const first = parseInt(bytes.slice(place + 2, place + 6).toString(), 16);
        if (first < 0xd800 || first > 0xdfff) {
            return 6;
        }
        const second = parseInt(bytes.slice(place + 8, place + 12).toString(), 16);
        const paired = bytes[place + 6] === BACKSLASH && bytes[place + 7] === 0x75;
        if (first > 0xdbff || !paired || second < 0xdc00 || second > 0xdfff) {
            throw refused('half of a surrogate pair stands alone: write characters in UTF-8, or both halves');
        }
        return 12;
    }

    function string() {
        const start = at;
        at += 1;
        let escaped = false;
        while (at < end && bytes[at] !== QUOTE) {
            if (bytes[at] < 0x20) {
                throw notJson(at);
            }
            if (bytes[at] === BACKSLASH) {
                escaped = true;
                at += escape(at);
            } else {
                at += 1;
            }
        }
        if (at >= end) {
            throw notJson(end);
        }
        at += 1;
        return escaped ? JSON.parse(bytes.slice(start, at).toString()) : bytes.slice(start + 1, at - 1).toString();
    }

    function number() {
        const start = at;
        let value = 0;
        while (at < end && bytes[at] >= 0x30 && bytes[at] <= 0x39) {
            value = value * 10 + bytes[at] - 0x30;
            at += 1;
        }
        const next = bytes[at];
        const plain = at > start && at - start < 16 && next !== 0x2e && next !== 0x65 && next !== 0x45;
        if (plain && (bytes[start] !== 0x30 || at - start === 1)) {
            return value;
        }
        while (at < end && at - start < 400 && '+-.eE0123456789'.indexOf(String.fromCharCode(bytes[at])) >= 0) {
            at += 1;
        }
        const text = bytes.slice(start, at).toString();
        if (!NUMBER.test(text)) {
            throw notJson(start);
        }
        value = Number(text);
        if (!isFinite(value)) {
            throw refused(`${text.slice(0, 60)} is too large: use numbers below 1e308`);
        }
        if (/[.eE]/.test(text)) {
            return Number.isInteger(value) && Math.abs(value) < 1e15 ? value + AS_FRACTION : value;
        }
        const digits = text.replace('-', '');
        if (digits.length > 19 || digits.length === 19 && digits > MAX_INT64) {
            return TOO_LARGE;
        }
        return Math.min(Math.max(value, -BELOW_2_63), BELOW_2_63);
    }

    function word(byte) {
        const found = WORDS[String.fromCharCode(byte)];
        if (found === undefined || bytes.slice(at, at + found[0].length).toString() !== found[0]) {
            throw notJson(at);
        }
        at += found[0].length;
        return found[1];
    }

    function list(depth) {
        const values = [];
        at += 1;
        if (skip() === 0x5d) {
            at += 1;
            return values;
        }
        for (;;) {
            values.push(value(depth));
            const byte = skip();
            at += 1;
            if (byte === 0x5d) {
                return values;
            }
            if (byte !== COMMA) {
                throw notJson(at - 1);
            }
        }
    }

    function object(depth) {
        const fields = {};
        at += 1;
        if (skip() === 0x7d) {
            at += 1;
            return fields;
        }
        for (;;) {
            if (skip() !== QUOTE) {
                throw notJson(at);
            }
            const name = string();
            names += 1;
            if (names > MAX_NAMES || Object.prototype.hasOwnProperty.call(fields, name) || name === '__proto__') {
                throw refused(`${shown(name)} stands twice in one object, or is one name too many: use each once`);
            }
            if (skip() !== COLON) {
                throw notJson(at);
            }
            at += 1;
            fields[name] = value(depth);
            const byte = skip();
            at += 1;
            if (byte === 0x7d) {
                return fields;
            }
            if (byte !== COMMA) {
                throw notJson(at - 1);
            }
        }
    }

    function value(depth) {
        const byte = skip();
        if (byte === 0x5b || byte === 0x7b) {
            if (depth === MAX_DEPTH) {
                throw refused(`the body nests deeper than ${MAX_DEPTH} levels: use at most ${MAX_DEPTH}`);
            }
            return byte === 0x5b ? list(depth + 1) : object(depth + 1);
        }
        if (byte === QUOTE) {
            return string();
        }
        return byte === MINUS || byte >= 0x30 && byte <= 0x39 ? number() : word(byte);
    }

    const whole = value(0);
    while (at < end) {
        if (' \n\r\t'.indexOf(String.fromCharCode(bytes[at])) < 0) {
            throw notJson(at);
        }
        at += 1;
    }
    return whole;
}

export default {parse, refused, shown, BELOW_2_63};
