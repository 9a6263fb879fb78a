// vecckpt_distance_support: the planner's support function of the distance functions. A call of one becomes
// its operator, so that ORDER BY l2_distance(v, q) is what an index serves, as ORDER BY v <-> q is.

#include "pg/pg.hpp"

extern "C" {
#include "catalog/namespace.h"
#include "nodes/makefuncs.h"
#include "nodes/supportnodes.h"
}

namespace vecckpt {
namespace {

struct FunctionAndOperator {
  const char* function;
  const char* operator_name;
};
constexpr FunctionAndOperator kOperators[] = {{"l2_distance", "<->"},
                                              {"negative_inner_product", "<#>"},
                                              {"cosine_distance", "<=>"},
                                              {"l1_distance", "<+>"}};

// The operator of the function's own schema whose function it is; InvalidOid if there is none.
Oid OperatorOf(Oid function) {
  char* name = get_func_name(function);
  char* schema = get_namespace_name(get_func_namespace(function));
  if (name == nullptr || schema == nullptr) return InvalidOid;
  for (const FunctionAndOperator& known : kOperators) {
    if (strcmp(known.function, name) != 0) continue;
    List* path = list_make2(makeString(schema), makeString(pstrdup(known.operator_name)));
    Oid found = OpernameGetOprid(path, FLOAT4ARRAYOID, FLOAT4ARRAYOID);
    return OidIsValid(found) && get_opcode(found) == function ? found : InvalidOid;
  }
  return InvalidOid;
}

Node* Simplify(const FuncExpr* call) {
  Oid op = OperatorOf(call->funcid);
  if (!OidIsValid(op) || list_length(call->args) != 2) return nullptr;
  auto* expression = reinterpret_cast<OpExpr*>(
      make_opclause(op, call->funcresulttype, false, static_cast<Expr*>(linitial(call->args)),
                    static_cast<Expr*>(lsecond(call->args)), call->funccollid, call->inputcollid));
  expression->opfuncid = call->funcid;
  return reinterpret_cast<Node*>(expression);
}

}  // namespace
}  // namespace vecckpt

extern "C" {

PG_FUNCTION_INFO_V1(vecckpt_distance_support);
PGDLLEXPORT Datum vecckpt_distance_support(PG_FUNCTION_ARGS) {
  auto* request = reinterpret_cast<Node*>(PG_GETARG_POINTER(0));
  if (!IsA(request, SupportRequestSimplify)) PG_RETURN_POINTER(nullptr);
  PG_RETURN_POINTER(vecckpt::Simplify(reinterpret_cast<SupportRequestSimplify*>(request)->fcall));
}
}
