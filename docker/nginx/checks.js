// Checks of a request before Triton reads it. Triton 2.51 ends, hangs or takes all memory over a body of a few bytes that
// nests deeply or declares more values than it holds, and answers 500 to JSON that is wrong. All that is wrong is refused
// here with 400 and one line: what was given, and what is allowed.

import json from 'json.js';

const refused = json.refused;
const shown = json.shown;
const BELOW_2_63 = json.BELOW_2_63;

const BYTES_OF = {
    BOOL: 1, UINT8: 1, UINT16: 2, UINT32: 4, UINT64: 8, INT8: 1, INT16: 2, INT32: 4, INT64: 8,
    FP16: 2, BF16: 2, FP32: 4, FP64: 8, BYTES: 0,
};
const WHOLE = /^(U?)INT(\d+)$/;
const MAX_RANK = 8;
const PARAMETERS = {
    timeout: 'whole', priority: 'whole', sequence_id: 'whole', sequence_start: 'flag', sequence_end: 'flag',
    binary_data_output: 'flag', binary_data: 'flag', binary_data_size: 'whole', classification: 'whole',
};

function isObject(value) {
    return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function isWhole(value) {
    return Number.isInteger(value) && value >= 0;
}

function checkParameters(parameters, where) {
    if (parameters === undefined) {
        return;
    }
    if (!isObject(parameters)) {
        throw refused(`${where}parameters is ${shown(parameters)}: use an object`);
    }
    Object.keys(parameters).forEach((name) => {
        const value = parameters[name];
        const kind = PARAMETERS[name];
        if (kind === 'whole' && !(isWhole(value) && value <= BELOW_2_63)) {
            throw refused(`${where}${name} is ${shown(value)}: use a whole number, 0 or more`);
        }
        if (kind === 'flag' && typeof value !== 'boolean') {
            throw refused(`${where}${name} is ${shown(value)}: use true or false`);
        }
        if (name.slice(0, 13) === 'shared_memory') {
            throw refused(`${where}${name} is not served here: send the data in the request`);
        }
        if (typeof value === 'object' || typeof value === 'number' && !isFinite(value)) {
            throw refused(`${where}${name} is ${shown(value)}: use text, a number, true or false`);
        }
    });
}

// The number of values in `data`, nested or not, each of which must be of the datatype.
function countValues(name, datatype, data) {
    const whole = WHOLE.exec(datatype);
    const bits = whole ? Number(whole[2]) - (whole[1] ? 0 : 1) : 0;
    const most = bits >= 63 ? BELOW_2_63 : Math.pow(2, bits) - 1;
    const least = whole && !whole[1] ? -most - 1 : 0;
    let count = 0;
    function visit(values) {
        for (let i = 0; i < values.length; i++) {
            const value = values[i];
            if (Array.isArray(value)) {
                visit(value);
                continue;
            }
            count += 1;
            const right = whole ? Number.isInteger(value) && value >= least && value <= most
                : datatype === 'BYTES' ? typeof value === 'string'
                    : datatype === 'BOOL' ? typeof value === 'boolean' : typeof value === 'number' && isFinite(value);
            if (!right) {
                const allowed = whole ? `whole numbers from ${bits >= 63 ? (whole[1] ? '0' : '-2^63') : least} to ${bits >= 63 ? '2^63-1' : most}`
                    : {BYTES: 'texts', BOOL: 'true or false'}[datatype] || 'finite numbers';
                throw refused(`data of ${name} holds ${shown(value)}: ${datatype} takes ${allowed}`);
            }
        }
    }
    visit(data);
    return count;
}

// One tensor, and the bytes that it takes of those after the JSON.
function checkInput(input) {
    if (!isObject(input) || typeof input.name !== 'string' || !/^\w{1,64}$/.test(input.name)) {
        throw refused('an input has no name: use {"name": ..., "datatype": ..., "shape": [...], "data": [...]}');
    }
    const name = input.name;
    if (!Object.prototype.hasOwnProperty.call(BYTES_OF, input.datatype)) {
        throw refused(`datatype of ${name} is ${shown(input.datatype)}: use one of ${Object.keys(BYTES_OF).sort().join(', ')}`);
    }
    const shape = input.shape;
    if (!Array.isArray(shape) || shape.length > MAX_RANK || !shape.every((side) => isWhole(side) && side < 0x80000000)) {
        throw refused(`shape of ${name} is ${shown(shape)}: use at most ${MAX_RANK} whole numbers, each at most 2147483647`);
    }
    const values = shape.reduce((product, side) => product * side, 1);
    checkParameters(input.parameters, `${name}: `);
    const size = input.parameters === undefined ? undefined : input.parameters.binary_data_size;
    if ((size === undefined) === (input.data === undefined)) {
        throw refused(`${name} has ${size === undefined ? 'no data' : 'data twice'}: use data, or binary_data_size`);
    }
    if (size !== undefined) {
        const each = BYTES_OF[input.datatype];
        if (each ? size !== values * each : size < 4 * values) {
            throw refused(`binary_data_size of ${name} is ${size}: its shape ${shown(shape)} takes ${values * (each || 4)} bytes`
                + (each ? '' : ' or more'));
        }
        return size;
    }
    if (!Array.isArray(input.data)) {
        throw refused(`data of ${name} is ${shown(input.data)}: use a list`);
    }
    const count = countValues(name, input.datatype, input.data);
    if (count !== values) {
        throw refused(`shape of ${name} is ${shown(shape)}, that is ${values} values, but its data holds ${count}`);
    }
    return 0;
}

function checkList(body, name) {
    if (!Array.isArray(body[name])) {
        throw refused(`${name} is ${shown(body[name])}: use a list of objects`);
    }
    return body[name];
}

function checkInfer(body, rest) {
    Object.keys(body).forEach((name) => {
        if (['id', 'inputs', 'outputs', 'parameters'].indexOf(name) < 0) {
            throw refused(`${shown(name)} is no field of a request: use id, inputs, outputs, parameters`);
        }
    });
    checkCommon(body);
    const taken = checkList(body, 'inputs').reduce((sum, input) => sum + checkInput(input), 0);
    if (taken !== rest) {
        throw refused(`binary_data_size is ${taken} in sum, but ${rest} bytes follow the JSON`);
    }
    if (body.outputs !== undefined) {
        checkList(body, 'outputs').forEach((output) => {
            if (!isObject(output) || typeof output.name !== 'string') {
                throw refused('an output has no name: use {"name": "image"}');
            }
            checkParameters(output.parameters, '');
        });
    }
}

// A body for /generate, which does not say the types: `inputs` has them by name.
function checkGenerate(body, inputs) {
    checkCommon(body);
    Object.keys(body).forEach((name) => {
        const value = body[name];
        if (name === 'id' || name === 'parameters') {
            return;
        }
        if (!Object.prototype.hasOwnProperty.call(inputs, name)) {
            throw refused(`${shown(name)} is no input: use any of ${Object.keys(inputs).sort().join(', ')}`);
        }
        if (countValues(name, inputs[name], [value]) !== 1) {
            throw refused(`${name} is ${shown(value)}: use one value`);
        }
    });
}

function checkCommon(body) {
    if (body.id !== undefined && typeof body.id !== 'string') {
        throw refused(`id is ${shown(body.id)}: use text`);
    }
    checkParameters(body.parameters, '');
}

// The datatypes of a model's inputs by name, as Triton describes the model.
function datatypes(described) {
    const found = {};
    JSON.parse(described).inputs.forEach((input) => {
        found[input.name] = input.datatype;
    });
    return found;
}

// The length of the JSON at the beginning of a body of `size` bytes.
function jsonLength(given, size) {
    if (given === undefined) {
        return size;
    }
    if (!/^\d{1,9}$/.test(given) || Number(given) < 1 || Number(given) > size) {
        throw refused(`Inference-Header-Content-Length is ${shown(given)}: use the bytes of the JSON, 1 to ${size}`);
    }
    return Number(given);
}

async function checked(r) {
    const encoding = r.headersIn['Content-Encoding'];
    if (encoding !== undefined && encoding.toLowerCase() !== 'identity') {
        answer(r, 415, `content-encoding is ${shown(encoding)}: send the body as it is, without one`);
        return;
    }
    try {
        const body = r.requestBuffer;
        if (body === undefined) {
            throw refused('the body is empty: send one JSON object, such as {"inputs": [...]}');
        }
        const length = jsonLength(r.headersIn['Inference-Header-Content-Length'], body.length);
        const value = json.parse(body, length);
        if (!isObject(value)) {
            throw refused('the body is no JSON object: send one, such as {"inputs": [...]}');
        }
        if (/\/infer$/.test(r.uri)) {
            checkInfer(value, body.length - length);
        } else {
            const described = await r.subrequest(r.uri.replace(/\/\w+$/, ''), {method: 'GET'});
            if (described.status !== 200) {
                respond(r, described.status, described.responseText);
                return;
            }
            checkGenerate(value, datatypes(described.responseText));
        }
    } catch (error) {
        answer(r, 400, error.refused ? error.message : 'the body cannot be read: send one JSON object');
        return;
    }
    r.internalRedirect('@triton');
}

function answer(r, status, text) {
    respond(r, status, JSON.stringify({error: text}) + '\n');
}

function respond(r, status, body) {
    r.headersOut['Content-Type'] = 'application/json';
    r.return(status, body);
}

export default {checked};
